//! The spare: the next checkout, made ahead of time.
//!
//! Linking 50,000 files takes hundreds of milliseconds, and nearly all of it does not depend on what the next commit changes. So it is done
//! when there is nothing else to do: `.spare` is a tree of links to the newest checkout, synced to disk, that nobody else knows about. The next
//! publish replaces the changed files in it and gives it its name.

use std::os::fd::AsFd;

use super::build::{self, Base, Counts, Plan, Stop};
use super::manifest::{Manifest, Window};
use super::{Checkouts, Mode, files};
use crate::{Oid, Repo, RepoError};

const SPARE: &str = ".spare";
const MANIFEST: &str = "spare";

impl Checkouts {
    /// Makes the spare of the newest checkout, unless it is there. Meant for quiet moments; `interrupted` is asked between folders, and an
    /// unfinished spare is thrown away. Returns whether the spare is ready.
    ///
    /// # Errors
    /// When something cannot be read or written. Nothing but speed depends on the spare.
    pub fn prepare(&self, repo: &Repo, current: Oid, interrupted: &dyn Fn() -> bool) -> Result<bool, RepoError> {
        let tree = repo.tree_id(current)?;
        let there = files::open_dir(&self.fd, SPARE.as_bytes()).is_ok();
        if there && self.read_manifest(MANIFEST).is_some_and(|manifest| manifest.tree() == tree) {
            return Ok(true);
        }
        self.discard_spare()?;
        let from = files::clock_before();
        let temporary = self.temporary("tmp", "spare");
        let dir = files::make_dir(self.fd.as_fd(), temporary.as_bytes(), self.access.into())
            .map_err(|e| self.io("creating", &temporary, e))?;
        let name = current.to_string();
        let old = (self.mode == Mode::Link)
            .then(|| Some((self.read_manifest(&name)?, files::open_dir(&self.fd, name.as_bytes()).ok()?)))
            .flatten();
        let plan = self.plan(current, interrupted);
        let result = match &old {
            Some((manifest, root)) => {
                let root = root.try_clone().map_err(|e| self.io("opening", &name, e))?;
                build::build(repo, plan, Base::Linked { manifest, root }, dir.as_fd())
            }
            None => build::build(repo, plan, Base::Empty, dir.as_fd()),
        };
        if let Some((manifest, _)) = old {
            self.note_window(&name, manifest, Window { from, to: files::clock() })?;
        }
        match result {
            Ok((manifest, counts)) => {
                if counts.altered > 0 {
                    tracing::warn!(commit = %current, files = counts.altered, "somebody changed files of a checkout; the next one has them as committed");
                }
                self.write_manifest(MANIFEST, &manifest)?;
                rustix::fs::renameat(&self.fd, temporary.as_str(), &self.fd, SPARE)
                    .map_err(|e| self.io("naming", SPARE, e.into()))?;
                Ok(true)
            }
            Err(Stop::Failed(error)) => {
                self.discard_temporaries();
                Err(error)
            }
            Err(Stop::Interrupted | Stop::NotOurs) => Ok(false),
        }
    }

    /// Turns the spare into the tree of the plan's commit under a temporary name; nothing when there is none or it is not as we left it.
    pub(super) fn take_spare(
        &self,
        repo: &Repo,
        plan: Plan<'_>,
    ) -> Result<Option<(String, Manifest, Counts)>, RepoError> {
        let Some(manifest) = self.read_manifest(MANIFEST) else { return Ok(None) };
        let temporary = self.temporary("tmp", "from-spare");
        match rustix::fs::renameat(&self.fd, SPARE, &self.fd, temporary.as_str()) {
            Ok(()) => {}
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(e) => return Err(self.io("taking", SPARE, e.into())),
        }
        let dir = files::open_dir(&self.fd, temporary.as_bytes()).map_err(|e| self.io("opening", &temporary, e))?;
        match build::build(repo, plan, Base::InPlace { manifest: &manifest }, dir.as_fd()) {
            Ok((manifest, counts)) => Ok(Some((temporary, manifest, counts))),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Interrupted | Stop::NotOurs) => {
                tracing::debug!("the spare checkout is not usable for this commit");
                Ok(None)
            }
        }
    }

    /// Moves the spare out of the way; the next sweep removes it.
    pub(super) fn discard_spare(&self) -> Result<(), RepoError> {
        let trash = self.temporary("trash", "spare");
        match rustix::fs::renameat(&self.fd, SPARE, &self.fd, trash.as_str()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(e) => Err(self.io("removing", SPARE, e.into())),
        }
    }

    pub(super) fn note_window(&self, name: &str, mut manifest: Manifest, window: Window) -> Result<(), RepoError> {
        // Written in place of the old one, with its age.
        let age =
            std::fs::metadata(self.root.join(super::MANIFESTS).join(name)).and_then(|metadata| metadata.modified());
        manifest.note_window(window);
        self.write_manifest(name, &manifest)?;
        if let Ok(age) = age {
            let path = self.root.join(super::MANIFESTS).join(name);
            let _ = std::fs::File::options().append(true).open(path).and_then(|file| file.set_modified(age));
        }
        Ok(())
    }

    pub(super) fn note_spare_window(&self, window: Window) -> Result<(), RepoError> {
        match self.read_manifest(MANIFEST) {
            Some(manifest) => self.note_window(MANIFEST, manifest, window),
            None => Ok(()),
        }
    }
}
