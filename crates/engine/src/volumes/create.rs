//! `POST /volumes/create`, and what a container's creation does in its place.

use super::ANONYMOUS;
use crate::{Engine, NO_SWARM};
use gantry_api_types::{Volume, VolumeCreateRequest};
use gantry_model::{Error, ErrorKind, Id, Result, Timestamp};
use gantry_plugins::{Patience, VolumeDriver};
use gantry_volumes::{Claimed, CreateRequest, VOLUME_DRIVER, Volume as Stored, VolumeError};
use std::io;
use std::path::Path;

/// Who makes a volume, or has it.
enum Maker {
    /// It is there.
    Nobody(Stored),
    Local,
    Plugin(VolumeDriver),
}

impl Engine {
    /// Makes a volume, or finds it.
    pub async fn volume_create(&self, request: VolumeCreateRequest) -> Result<Volume> {
        if request.cluster_volume_spec.is_some() {
            return Err(Error::unavailable(NO_SWARM));
        }
        let VolumeCreateRequest { driver, driver_opts, labels, name, .. } = request;
        let request = CreateRequest { name, driver, options: driver_opts, labels, anonymous: false };
        self.detached(move |engine| async move {
            let maker = engine.clone();
            let (volume, new) = crate::blocking(move || maker.make_volume(request, |_| Ok(()))).await?;
            if new {
                engine.volume_event(&volume.name, &volume.driver, "create");
            }
            Ok(engine.show_volume(&volume, None))
        })
        .await
    }

    /// Makes a volume or finds it; the boolean tells which. A new one of the local driver begins to exist with what
    /// `fill` puts into it. Blocks, with a plugin for as long as that takes.
    pub(crate) fn make_volume(
        &self,
        mut request: CreateRequest,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(Stored, bool)> {
        if request.name.is_empty() {
            request.anonymous = true;
            request.name = Id::random().to_string();
            request.labels.get_or_insert_default().insert(ANONYMOUS.to_owned(), String::new());
        }
        let name = request.name.clone();
        let maker = self.handle.block_on(self.maker(&request)).map_err(|e| e.context(format!("create {name}")))?;
        match maker {
            Maker::Nobody(volume) => Ok((volume, false)),
            Maker::Local => Ok(self.volumes.create_filled(request, fill)?),
            Maker::Plugin(driver) => self.make_at_plugin(&driver, request),
        }
    }

    async fn maker(&self, request: &CreateRequest) -> Result<Maker> {
        let (name, asked) = (request.name.as_str(), request.driver.as_str());
        let Ok(stored) = self.volumes.get(name) else { return self.maker_of_new(name, asked).await };
        let other = !asked.is_empty() && asked != stored.driver;
        if other {
            if asked != VOLUME_DRIVER {
                self.volume_driver(asked, Patience::Long).await?;
            }
            return Err(taken(&format!("driver '{}' already has volume '{name}'", stored.driver)));
        }
        if stored.is_local() {
            return Ok(Maker::Nobody(stored));
        }
        // What was made once may be gone since.
        let (driver, users) = (&stored.driver, self.volume_users(name));
        match self.look_up(&stored, Patience::Long).await {
            Ok(Some(_)) => Ok(Maker::Nobody(stored)),
            Ok(None) if users.is_empty() => {
                self.forget_volume(name).await?;
                self.volume_driver(driver, Patience::Long).await.map(Maker::Plugin)
            }
            Ok(None) => Err(taken(&format!(
                "found references to volume '{name}' in driver '{driver}' but the volume was not found in the driver -- \
                 you may need to remove containers referencing this volume or force remove the volume to re-create it"
            ))),
            Err(e) => Err(taken(&format!(
                "found reference to volume '{name}' in driver '{driver}', but got an error while checking the driver: {e}"
            ))),
        }
    }

    async fn maker_of_new(&self, name: &str, asked: &str) -> Result<Maker> {
        if asked.is_empty()
            && let Some((stored, _)) = self.adopt_volume(name).await?
        {
            return Ok(Maker::Nobody(stored));
        }
        if matches!(asked, "" | VOLUME_DRIVER) {
            return Ok(Maker::Local);
        }
        self.volume_driver(asked, Patience::Long).await.map(Maker::Plugin)
    }

    /// One that the plugin has already is taken as it is.
    fn make_at_plugin(&self, driver: &VolumeDriver, request: CreateRequest) -> Result<(Stored, bool)> {
        let CreateRequest { name, options, labels, anonymous, .. } = request;
        let claim = match self.volumes.claim(&name) {
            Claimed::Existing(existing) if existing.driver == driver.0.name() => return Ok((existing, false)),
            Claimed::Existing(existing) => {
                return Err(VolumeError::NameTaken { name: existing.name, driver: existing.driver }.into());
            }
            Claimed::New(claim) => claim,
        };
        let made = self.handle.block_on(async {
            match driver.get(&name, Patience::Long).await? {
                Some(_) => Ok(()),
                None => driver.create(&name, options.as_ref()).await,
            }
        });
        made.map_err(|e| Error::from(e).context(format!("create {name}")))?;
        let driver = driver.0.name().to_owned();
        let volume = claim.establish(Stored { name, driver, created: Timestamp::now(), labels, options, anonymous })?;
        Ok((volume, true))
    }
}

fn taken(why: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("{why}: volume name must be unique"))
}
