//! The serde side: nodes into types.

use super::{GoJsonError, node::Node};
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor, value::StrDeserializer};

/// Where in the document a value is, for messages: a chain of struct fields.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    owner: &'static str,
    field: &'static str,
}

impl Place<'_> {
    fn write_path(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.write_path(out);
            out.push('.');
        }
        out.push_str(self.field);
    }
}

#[derive(Clone, Copy)]
pub(super) struct NodeDeserializer<'de, 'p> {
    node: &'de Node,
    place: Option<&'p Place<'p>>,
}

type Result<T> = std::result::Result<T, GoJsonError>;

impl<'de> NodeDeserializer<'de, '_> {
    pub(super) fn root(node: &'de Node) -> Self {
        Self { node, place: None }
    }

    fn at(self, node: &'de Node) -> Self {
        Self { node, place: self.place }
    }

    /// Go's `UnmarshalTypeError`; `what` is the JSON's kind, for numbers that do not fit with their text.
    fn mismatch<T>(self, what: &str, wanted: &str) -> Result<T> {
        Err(GoJsonError(match self.place {
            None => format!("json: cannot unmarshal {what} into Go value of type {wanted}"),
            Some(place) => {
                let mut path = String::new();
                place.write_path(&mut path);
                format!("json: cannot unmarshal {what} into Go struct field {}.{path} of type {wanted}", place.owner)
            }
        }))
    }

    fn integer<T: std::str::FromStr + Default>(self, wanted: &str) -> Result<T> {
        match self.node {
            Node::Null => Ok(T::default()),
            Node::Number(text) => match text.parse() {
                Ok(number) => Ok(number),
                Err(_) => self.mismatch(&format!("number {text}"), wanted),
            },
            other => self.mismatch(other.kind(), wanted),
        }
    }
}

/// Go's spelling of Rust's integer types.
macro_rules! go_integers {
    ($($method:ident $visit:ident $type:ty, $go:literal);* $(;)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(self.integer::<$type>($go)?)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for NodeDeserializer<'de, '_> {
    type Error = GoJsonError;

    go_integers! {
        deserialize_i8 visit_i8 i8, "int8";
        deserialize_i16 visit_i16 i16, "int16";
        deserialize_i32 visit_i32 i32, "int32";
        deserialize_i64 visit_i64 i64, "int64";
        deserialize_u8 visit_u8 u8, "uint8";
        deserialize_u16 visit_u16 u16, "uint16";
        deserialize_u32 visit_u32 u32, "uint32";
        deserialize_u64 visit_u64 u64, "uint64";
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_f64(self.integer::<f64>("float64")?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node {
            Node::Null => visitor.visit_bool(false),
            Node::Bool(value) => visitor.visit_bool(*value),
            other => self.mismatch(other.kind(), "bool"),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node {
            Node::Null => visitor.visit_borrowed_str(""),
            Node::String(text) => visitor.visit_borrowed_str(text),
            other => self.mismatch(other.kind(), "string"),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node {
            Node::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node {
            Node::Null => visitor.visit_seq(Items { items: [].iter(), parent: self }),
            Node::Array(items) => visitor.visit_seq(Items { items: items.iter(), parent: self }),
            other => self.mismatch(other.kind(), "[]string"),
        }
    }

    /// A Go array: missing items are zero, further ones are dropped.
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        let items: &[Node] = match self.node {
            Node::Null => &[],
            Node::Array(items) => items,
            other => return self.mismatch(other.kind(), "array"),
        };
        visitor.visit_seq(FixedItems { items: items.iter(), left: len, parent: self })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node {
            Node::Null => visitor.visit_map(Members { entries: [].iter(), value: None, parent: self }),
            Node::Object(members) => visitor.visit_map(Members { entries: members.iter(), value: None, parent: self }),
            other => self.mismatch(other.kind(), "map[string]string"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let members: &[(String, Node)] = match self.node {
            Node::Null => &[],
            Node::Object(members) => members,
            other if self.place.is_none() => return self.mismatch(other.kind(), &format!("types.{name}")),
            other => return self.mismatch(other.kind(), &format!("container.{name}")),
        };
        let mut values: Vec<Option<&Node>> = vec![None; fields.len()];
        for (key, value) in members {
            let exact = fields.iter().position(|field| field == key);
            let found = exact.or_else(|| fields.iter().position(|field| field.eq_ignore_ascii_case(key)));
            if let Some(index) = found
                && *value != Node::Null
            {
                values[index] = Some(value);
            }
        }
        let known = fields.iter().copied().zip(values);
        visitor.visit_map(Fields { known, value: None, owner: name, parent: self })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    /// For values whose type the document decides.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Number(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(integer), _) => visitor.visit_i64(integer),
                (_, Ok(float)) => visitor.visit_f64(float),
                _ => self.mismatch(&format!("number {text}"), "float64"),
            },
            Node::String(text) => visitor.visit_borrowed_str(text),
            Node::Array(_) => self.deserialize_seq(visitor),
            Node::Object(_) => self.deserialize_map(visitor),
        }
        // A visitor that does not take this kind of value says so in serde's words; Go's are better.
        .map_err(|e| match self.mismatch::<()>(self.node.kind(), "string") {
            Err(go) if !e.0.starts_with("json:") => go,
            _ => e,
        })
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple_struct enum identifier
    }
}

/// The items of an array.
struct Items<'de, 'p> {
    items: std::slice::Iter<'de, Node>,
    parent: NodeDeserializer<'de, 'p>,
}

impl<'de> de::SeqAccess<'de> for Items<'de, '_> {
    type Error = GoJsonError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.items.next().map(|item| seed.deserialize(self.parent.at(item))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The items of an array of known length.
struct FixedItems<'de, 'p> {
    items: std::slice::Iter<'de, Node>,
    left: usize,
    parent: NodeDeserializer<'de, 'p>,
}

impl<'de> de::SeqAccess<'de> for FixedItems<'de, '_> {
    type Error = GoJsonError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.parent.at(self.items.next().unwrap_or(&Node::Null))).map(Some)
    }
}

/// The members of an object whose keys are data.
struct Members<'de, 'p> {
    entries: std::slice::Iter<'de, (String, Node)>,
    value: Option<&'de Node>,
    parent: NodeDeserializer<'de, 'p>,
}

impl<'de> de::MapAccess<'de> for Members<'de, '_> {
    type Error = GoJsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        let key: StrDeserializer<'_, GoJsonError> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(self.parent.at(self.value.take().unwrap_or(&Node::Null)))
    }
}

/// The members of an object that are fields of a struct.
struct Fields<'de, 'p, I> {
    known: I,
    value: Option<(&'static str, &'de Node)>,
    owner: &'static str,
    parent: NodeDeserializer<'de, 'p>,
}

impl<'de, I: Iterator<Item = (&'static str, Option<&'de Node>)>> de::MapAccess<'de> for Fields<'de, '_, I> {
    type Error = GoJsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let next = self.known.find_map(|(field, value)| Some((field, value?)));
        let Some((field, value)) = next else { return Ok(None) };
        self.value = Some((field, value));
        let key: StrDeserializer<'_, GoJsonError> = field.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        let (field, node) = self.value.take().unwrap_or(("", &Node::Null));
        let place = Place { parent: self.parent.place, owner: self.owner, field };
        seed.deserialize(NodeDeserializer { node, place: Some(&place) })
    }
}
