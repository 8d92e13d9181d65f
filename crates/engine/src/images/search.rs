//! `GET /images/search`.

use crate::Engine;
use crate::filters::Filters;
use gantry_api_types::{AuthConfig, ImageSearchItem};
use gantry_model::{Error, Result};
use gantry_registry_client::SearchResult;

/// Results when nobody says how many.
const DEFAULT_LIMIT: i64 = 25;
/// Results, at most.
const MAX_LIMIT: i64 = 100;

/// Query parameters of a search.
#[derive(Debug, Clone, Default)]
pub struct ImageSearch {
    /// What to look for, perhaps after the host of an index.
    pub term: String,
    /// How many results the index is asked for.
    pub limit: Option<i64>,
    /// Which of those.
    pub filters: Filters,
    /// Who asks.
    pub auth: AuthConfig,
}

/// What the filters ask for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    automated: Option<bool>,
    official: Option<bool>,
    stars: Option<i64>,
}

impl Engine {
    /// Searches an index for repositories.
    pub async fn image_search(&self, search: ImageSearch) -> Result<Vec<ImageSearchItem>> {
        let wanted = Wanted::parse(&search.filters)?;
        let limit = search.limit.unwrap_or(DEFAULT_LIMIT);
        let Some(limit) = u32::try_from(limit).ok().filter(|_| (1..=MAX_LIMIT).contains(&limit)) else {
            return Err(Error::invalid(format!("Limit {limit} is outside the range of [1, {MAX_LIMIT}]")));
        };
        let credentials = super::login::credentials(&search.auth);
        let found = self.registry.search(&search.term, limit, &credentials).await?;
        Ok(found.into_iter().filter(|result| wanted.fits(result)).map(item).collect())
    }
}

impl Wanted {
    fn parse(filters: &Filters) -> Result<Self> {
        filters.accept_only(&["is-automated", "is-official", "stars"])?;
        let mut stars = None;
        for text in filters.get("stars") {
            let least = text.parse().map_err(|_| Error::invalid(format!("invalid filter 'stars={text}'")))?;
            stars = stars.max(Some(least));
        }
        Ok(Self { automated: filters.boolean("is-automated")?, official: filters.boolean("is-official")?, stars })
    }

    fn fits(&self, result: &SearchResult) -> bool {
        self.automated.is_none_or(|automated| automated == result.is_automated)
            && self.official.is_none_or(|official| official == result.is_official)
            && self.stars.is_none_or(|stars| result.star_count >= stars)
    }
}

fn item(result: SearchResult) -> ImageSearchItem {
    let SearchResult { name, description, star_count, is_official, is_automated } = result;
    ImageSearchItem { star_count, is_official, name, is_automated, description }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let wanted = |pairs: &[(&str, &str)]| {
            let mut filters = Filters::default();
            for (key, value) in pairs {
                filters.0.entry((*key).to_owned()).or_default().insert((*value).to_owned());
            }
            Wanted::parse(&filters).map_err(|e| e.to_string())
        };
        let parsed = wanted(&[("is-official", "true"), ("stars", "3"), ("stars", "20")]).unwrap();
        assert_eq!(parsed, Wanted { automated: None, official: Some(true), stars: Some(20) });
        let result = |official, stars| SearchResult { is_official: official, star_count: stars, ..Default::default() };
        assert!(parsed.fits(&result(true, 20)));
        assert!(!parsed.fits(&result(true, 19)) && !parsed.fits(&result(false, 20)));
        assert_eq!(wanted(&[("foo", "a")]), Err("invalid filter 'foo'".into()));
        assert_eq!(wanted(&[("is-automated", "a")]), Err("invalid filter 'is-automated=[a]'".into()));
        assert_eq!(wanted(&[("stars", "a")]), Err("invalid filter 'stars=a'".into()));
    }
}
