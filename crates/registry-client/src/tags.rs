//! The tags of a repository.

use crate::{
    Error, Repository, Result, headers,
    session::{Request, Target},
};
use gantry_model::Reference;
use http::{Method, header};
use serde::Deserialize;

/// A page of a thousand tags has some 30 kB.
const MAX_PAGE: usize = 8 << 20;
const MAX_PAGES: usize = 1000;
const MAX_TAGS: usize = 100_000;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Repository {
    /// All tags.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let grammar = Reference::parse("x").map_err(|e| Error::Invalid(e.to_string()))?;
        let mut tags = Vec::new();
        let mut target = self.target("tags/list");
        for _ in 0..MAX_PAGES {
            let answer = self.get(&Request::new(Method::GET, target), Some(self.wanted(':', ""))).await?;
            let url = answer.url.clone();
            let next = answer.header(header::LINK).and_then(headers::next_link).map(|link| url.join(link));
            let body = answer.body.collect(MAX_PAGE).await.map_err(|failure| Self::broken(&url, failure))?;
            let body =
                body.ok_or_else(|| Error::TooLarge(format!("a page of {url} is larger than {MAX_PAGE} bytes")))?;
            let page: Page = serde_json::from_slice(&body)
                .map_err(|e| Error::Protocol(format!("the tags of {} cannot be read: {e}", self.familiar())))?;
            for tag in page.tags.unwrap_or_default() {
                if grammar.with_tag(&tag).is_err() {
                    return Err(Error::Protocol(format!("{} has an invalid tag {tag:?}", self.familiar())));
                }
                tags.push(tag);
            }
            if tags.len() > MAX_TAGS {
                return Err(Error::TooLarge(format!("{} has more than {MAX_TAGS} tags", self.familiar())));
            }
            let Some(next) = next else {
                return Ok(tags);
            };
            let next = next.map_err(Error::Protocol)?;
            if next.origin != url.origin {
                return Err(Error::Protocol(format!("the tags of {} go on at another host", self.familiar())));
            }
            if next == url {
                return Err(Error::Protocol(format!("the tags of {} go round in a circle", self.familiar())));
            }
            target = Target::Url(next);
        }
        Err(Error::TooLarge(format!("{} has more than {MAX_PAGES} pages of tags", self.familiar())))
    }
}
