//! Doors for the fuzz targets, which see only what is public.

/// Resolves `spec` (`user[:group]`) in the text of a passwd and a group file, as a container's child does;
/// whether it was found.
pub fn resolve_user(passwd: &str, group: &str, spec: &str, additional: &[String]) -> bool {
    crate::child::user::resolve_in(passwd, group, spec, additional).is_ok()
}
