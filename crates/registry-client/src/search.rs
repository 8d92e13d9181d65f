//! Searching an index.

use crate::{
    Credentials, Error, Result,
    auth::Authenticator,
    client::Setup,
    session::{Place, Request, Session, Target},
    transport::Url,
};
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;

/// A hundred results, each with a description.
const MAX_ANSWER: usize = 4 << 20;

/// A repository that an index knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchResult {
    /// The name.
    pub name: String,
    /// What its owner says about it.
    pub description: String,
    /// How many people like it.
    pub star_count: i64,
    /// Whether Docker looks after it.
    pub is_official: bool,
    /// Whether it is built automatically.
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    results: Option<Vec<Item>>,
}

/// Indexes say `null` where they have nothing to say.
#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    star_count: Option<i64>,
    #[serde(default)]
    is_official: Option<bool>,
    #[serde(default)]
    is_automated: Option<bool>,
}

impl From<Item> for SearchResult {
    fn from(item: Item) -> Self {
        Self {
            name: item.name.unwrap_or_default(),
            description: item.description.unwrap_or_default(),
            star_count: item.star_count.unwrap_or_default(),
            is_official: item.is_official.unwrap_or_default(),
            is_automated: item.is_automated.unwrap_or_default(),
        }
    }
}

/// Searches the index, or the host that the term begins with.
pub(crate) async fn search(
    setup: &Setup,
    term: &str,
    limit: u32,
    credentials: &Credentials,
) -> Result<Vec<SearchResult>> {
    if term.contains("://") {
        return Err(Error::Invalid("Invalid repository name (ex: \"registry.domain.tld/myrepos\")".to_owned()));
    }
    let auth = || Authenticator::new(credentials.clone(), String::new());
    let (places, directory, term) = if let Some((host, rest)) = split_host(term) {
        (setup.places(host, auth)?, "/v1/".to_owned(), rest)
    } else {
        let index = Url::parse(setup.index()).map_err(Error::Invalid)?;
        let directory = format!("{}/", index.target.trim_end_matches('/'));
        (vec![Place::new(index.with_target("/"), false, auth())], directory, term)
    };
    let term = term.strip_prefix("library/").unwrap_or(term);
    let mut url = Url::parse("http://index/").map_err(Error::Invalid)?.with_target(&format!("{directory}search"));
    url.push_parameter("q", term);
    url.push_parameter("n", &limit.to_string());
    let session = Session::new(setup.transport.clone(), places, "/v1/_ping");
    let mut request = Request::new(Method::GET, Target::Path(url.target));
    request.headers.insert(HeaderName::from_static("x-docker-token"), HeaderValue::from_static("true"));
    let answer = session.ask(&request).await?;
    if !answer.status.is_success() {
        let (status, message) = (answer.status.as_u16(), format!("Unexpected status code {}", answer.status.as_u16()));
        return Err(Error::Status { status, message, retry_after: None });
    }
    let url = answer.url.clone();
    let body = answer.body.collect(MAX_ANSWER).await.map_err(|failure| crate::Repository::broken(&url, failure))?;
    let body = body.ok_or_else(|| Error::TooLarge(format!("{url} sent more than {MAX_ANSWER} bytes")))?;
    let found: Found = serde_json::from_slice(&body)
        .map_err(|e| Error::Protocol(format!("error decoding registry search results: {e}")))?;
    Ok(found.results.unwrap_or_default().into_iter().take(limit as usize).map(SearchResult::from).collect())
}

/// The first component is a host by the rule that references have.
fn split_host(term: &str) -> Option<(&str, &str)> {
    let (first, rest) = term.split_once('/')?;
    (first == "localhost" || first.contains(['.', ':'])).then_some((first, rest))
}
