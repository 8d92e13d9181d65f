//! One repository of a registry.

use crate::{
    Error, Result,
    client::Setup,
    refuse::refuse,
    session::{Place, Request, Session, Target},
    transport::Answer,
};
use gantry_model::Reference;
use http::Method;
use std::sync::Arc;

/// What a repository is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
}

/// A repository. Clones share the tokens, and what was learnt about where it is.
#[derive(Debug, Clone)]
pub struct Repository(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    setup: Arc<Setup>,
    session: Session,
    domain: String,
    path: String,
    /// As people write it.
    familiar: String,
}

impl Repository {
    pub(crate) fn new(setup: Arc<Setup>, places: Vec<Place>, reference: &Reference) -> Self {
        let session = Session::new(setup.transport.clone(), places, "/v2/");
        Self(Arc::new(Inner {
            setup,
            session,
            domain: reference.domain().to_owned(),
            path: reference.path().to_owned(),
            familiar: reference.familiar_name(),
        }))
    }

    pub(crate) fn session(&self) -> &Session {
        &self.0.session
    }

    /// The name as people write it.
    pub(crate) fn familiar(&self) -> &str {
        &self.0.familiar
    }

    /// What is below the repository's own part of the registry.
    pub(crate) fn target(&self, rest: &str) -> Target {
        Target::Path(format!("/v2/{}/{rest}", self.0.path))
    }

    /// Asks the registry. Every answer is one, whatever its status.
    pub(crate) async fn ask(&self, request: &Request<'_>) -> Result<Answer> {
        let answer = self.0.session.ask(request).await;
        if answer.is_ok() {
            self.0.setup.learn(&self.0.domain, &self.0.session);
        }
        answer
    }

    /// Asks the registry for something that has to be there.
    pub(crate) async fn get(&self, request: &Request<'_>, wanted: Option<(String, String)>) -> Result<Answer> {
        let answer = self.ask(request).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(refuse(answer, wanted).await) }
    }

    /// Asks with `HEAD`; what is not there is none.
    pub(crate) async fn head(
        &self,
        request: &mut Request<'_>,
        wanted: Option<(String, String)>,
    ) -> Result<Option<Answer>> {
        request.method = Method::HEAD;
        let answer = self.ask(request).await?;
        match answer.status.as_u16() {
            404 => Ok(None),
            _ if answer.status.is_success() => Ok(Some(answer)),
            _ => Err(refuse(answer, wanted).await),
        }
    }

    /// The name and what follows it, for messages.
    pub(crate) fn wanted(&self, separator: char, rest: &str) -> (String, String) {
        (self.0.familiar.clone(), format!("{}{separator}{rest}", self.0.familiar))
    }

    /// A failure in the middle of an answer.
    pub(crate) fn broken(answer_url: &crate::transport::Url, failure: crate::transport::Failure) -> Error {
        Error::NoAnswer { request: crate::session::wording(&Method::GET, answer_url), failure }
    }
}
