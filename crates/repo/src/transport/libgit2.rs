//! The transport over libgit2: `file`, `http(s)` and `ssh`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use git2::{AutotagOption, CertificateCheckStatus, Direction, ErrorClass, ErrorCode, FetchOptions, ProxyOptions};
use git2::{PushOptions, RemoteCallbacks, RemoteRedirect, Repository};

use super::auth::Offers;
use super::classify::classify;
use super::deadline::{self, Deadline};
use super::kept::Kept;
use super::known_hosts::{self, Verdict};
use super::url::{self, Address, Scheme};
use super::{
    Class, FetchReport, KnownHosts, PushSpec, PushedRef, Remote, RemoteRef, Transport, TransportError, cookies, local,
};
use crate::{Oid, Repo, RepoError};

/// libgit2's transports, with what they lack: bounded authentication, a total deadline, a host key check against a configured file, and the
/// server's word about every pushed ref.
///
/// One connection is kept: when the same http(s) remote is listed again within a minute, the third and further listings use the connection of the second, for
/// at most five minutes. It is closed with the last clone of this, or by the server. Credentials are read anew for each listing all the same. Where a
/// proxy or git's configuration says how to reach a server, or it answers with a redirect, each listing has a connection of its own.
#[derive(Debug, Clone, Default)]
pub struct Libgit2 {
    kept: Arc<Kept>,
}

impl Libgit2 {
    /// The transport. [`crate::init`] comes first.
    pub fn new() -> Self {
        Self::default()
    }
}

/// More of a server's chatter is not kept.
const MOST_SAID: usize = 64 * 1024;

/// One operation on one remote.
pub(super) struct Call {
    pub(super) remote: Remote,
    pub(super) address: Address,
    pub(super) shown: String,
    pub(super) deadline: Deadline,
    cookie: Option<String>,
    /// Why a callback of ours refused to go on; libgit2 puts its own words in the place of ours.
    refusal: Arc<Mutex<Option<String>>>,
}

impl Call {
    fn new(remote: &Remote) -> Result<Self, TransportError> {
        let address = url::parse(&remote.url)?;
        let shown = baft_kit::log::redact_url(&remote.url);
        let cookie = match &remote.credentials.cookie_file {
            Some(file) if matches!(address.scheme, Scheme::Http | Scheme::Https) => cookies::header(file, &address)
                .map_err(|e| {
                    TransportError::new(Class::Auth, format!("cannot read the cookie file {}: {e}", file.display()))
                })?,
            _ => None,
        };
        Ok(Self {
            remote: remote.clone(),
            address,
            shown,
            deadline: Deadline::after(remote.deadline),
            cookie,
            refusal: Arc::default(),
        })
    }

    /// Local remotes are read in place; everything else gets a thread that can be left behind.
    fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, TransportError> + Send + 'static,
    ) -> Result<T, TransportError> {
        if self.address.scheme == Scheme::Local {
            self.require_path()?;
            return work(&self);
        }
        if self.over_http() {
            crate::ffi::trust_system();
        }
        let (deadline, shown) = (self.deadline, self.shown.clone());
        deadline::run(deadline, &shown, move || work(&self))
    }

    /// libgit2 says of a path that is not there that its protocol is not supported.
    fn require_path(&self) -> Result<(), TransportError> {
        let plain = !self.remote.url.contains("://");
        if plain && !std::path::Path::new(&self.remote.url).exists() {
            return Err(TransportError::new(Class::NotFound, format!("there is nothing at {}", self.shown)));
        }
        Ok(())
    }

    fn error(&self, error: &git2::Error, doing: &str) -> TransportError {
        if self.deadline.passed() {
            return self.deadline.error(&self.shown);
        }
        let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
        match refusal {
            Some(why) => TransportError::new(Class::Auth, format!("{doing} {}: {why}", self.shown)),
            None => classify(error, doing, &self.shown),
        }
    }

    fn callbacks<'cb>(&self) -> RemoteCallbacks<'cb> {
        let mut callbacks = RemoteCallbacks::new();
        let mut offers = Offers::new(self.remote.credentials.clone(), self.address.clone());
        let refusal = Arc::clone(&self.refusal);
        let note = move |error: git2::Error| {
            *refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.message().to_owned());
            error
        };
        let note_credentials = note.clone();
        callbacks.credentials(move |url, user, allowed| offers.answer(url, user, allowed).map_err(&note_credentials));
        let (known_hosts, address) = (self.remote.known_hosts.clone(), self.address.clone());
        callbacks.certificate_check(move |cert, host| match cert.as_hostkey() {
            // TLS: OpenSSL's verdict stands.
            None => Ok(CertificateCheckStatus::CertificatePassthrough),
            Some(key) => check_host_key(&known_hosts, host, address.port, key.hostkey()).map_err(&note),
        });
        let deadline = self.deadline;
        callbacks.transfer_progress(move |_| !deadline.passed());
        callbacks.sideband_progress(move |_| !deadline.passed());
        callbacks
    }

    fn over_http(&self) -> bool {
        matches!(self.address.scheme, Scheme::Http | Scheme::Https)
    }

    fn redirects(&self) -> RemoteRedirect {
        // A cookie header would follow a redirect to another server.
        if self.cookie.is_some() { RemoteRedirect::None } else { RemoteRedirect::Initial }
    }

    fn fetch_options<'cb>(&self) -> FetchOptions<'cb> {
        let mut options = FetchOptions::new();
        options.remote_callbacks(self.callbacks()).proxy_options(proxy()).download_tags(AutotagOption::None);
        options.update_fetchhead(false).follow_redirects(self.redirects());
        if let Some(cookie) = &self.cookie {
            options.custom_headers(&[cookie]);
        }
        options
    }

    fn list(&self) -> Result<Vec<RemoteRef>, TransportError> {
        let fail = |e: git2::Error| self.error(&e, "listing");
        if self.cookie.is_some() {
            return self.list_by_fetching_nothing();
        }
        if self.address.scheme == Scheme::Local
            && let Some(refs) = local::refs(&self.remote.url)
        {
            return Ok(refs);
        }
        let mut remote = git2::Remote::create_detached(self.remote.url.as_str()).map_err(fail)?;
        let connection = remote.connect_auth(Direction::Fetch, Some(self.callbacks()), Some(proxy())).map_err(fail)?;
        Ok(connection.list().map_err(fail)?.iter().map(advertised).collect())
    }

    /// Only a fetch takes extra headers, so with cookies we fetch a ref that nobody has and look at what was advertised.
    fn list_by_fetching_nothing(&self) -> Result<Vec<RemoteRef>, TransportError> {
        let fail = |e: git2::Error| self.error(&e, "listing");
        let repo = git2::Odb::new().and_then(Repository::from_odb).map_err(fail)?;
        let mut remote = repo.remote_anonymous(&self.remote.url).map_err(fail)?;
        remote.fetch(&["refs/baft/none:refs/baft/none"], Some(&mut self.fetch_options()), None).map_err(fail)?;
        Ok(remote.list().map_err(fail)?.iter().map(advertised).collect())
    }

    fn fetch(&self, git: &Repository, refspecs: &[String]) -> Result<FetchReport, TransportError> {
        let fail = |e: git2::Error| self.error(&e, "fetching from");
        if self.address.scheme == Scheme::Local
            && let Some(refs) = local::refs(&self.remote.url)
            && let Some(report) = self.copy(git, refs, refspecs)?
        {
            return Ok(report);
        }
        let mut remote = git.remote_anonymous(&self.remote.url).map_err(fail)?;
        let mut options = self.fetch_options();
        if self.over_http() && self.cookie.is_none() {
            // In two steps, to have the connection between them; it is used on.
            let mut connection =
                remote.connect_auth(Direction::Fetch, Some(self.callbacks()), Some(proxy())).map_err(fail)?;
            crate::ffi::send_at_once();
            connection.remote().fetch(refspecs, Some(&mut options), Some("git-sync: fetch")).map_err(fail)?;
        } else {
            remote.fetch(refspecs, Some(&mut options), Some("git-sync: fetch")).map_err(fail)?;
        }
        let stats = remote.stats();
        let (objects, bytes) = (stats.received_objects(), stats.received_bytes() as u64);
        Ok(FetchReport { objects, bytes, refs: remote.list().map_err(fail)?.iter().map(advertised).collect() })
    }

    /// The fetch from a repository on this machine; nothing when it takes more than exact, forced refspecs.
    fn copy(
        &self,
        git: &Repository,
        refs: Vec<RemoteRef>,
        refspecs: &[String],
    ) -> Result<Option<FetchReport>, TransportError> {
        let fail = |e: git2::Error| self.error(&e, "fetching from");
        let exact = |spec: &String| -> Option<(Oid, String)> {
            let (from, to) = spec.strip_prefix('+')?.split_once(':')?;
            let want = refs.iter().find(|r| r.name == from).map(|r| r.oid)?;
            Some((want, to.to_owned()))
        };
        let Some(specs) = refspecs.iter().map(exact).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let path = self.remote.url.strip_prefix("file://").unwrap_or(&self.remote.url);
        let theirs = Repository::open(path).map_err(fail)?;
        let mut report = FetchReport { refs, ..FetchReport::default() };
        for (want, _) in &specs {
            let (objects, bytes) = local::copy(git, &theirs, *want, self.deadline).map_err(fail)?;
            report.objects += objects;
            report.bytes += bytes;
        }
        for (want, name) in &specs {
            git.reference(name, want.git(), true, "fetch").map_err(fail)?;
        }
        Ok(Some(report))
    }

    fn push(&self, git: &Repository, specs: &[PushSpec]) -> Result<Vec<PushedRef>, TransportError> {
        let fail = |e: git2::Error| self.error(&e, "pushing to");
        if self.address.scheme == Scheme::Local && local::refs(&self.remote.url).is_some() {
            let path = self.remote.url.strip_prefix("file://").unwrap_or(&self.remote.url);
            let disk = |e: RepoError| TransportError::new(Class::Disk, format!("pushing to {}: {e}", self.shown));
            let there = Repo::open(path).map_err(disk)?;
            return local::push(git, &there, specs, self.deadline).map_err(|e| match e {
                local::PushFailure::Moved(message) => TransportError::new(Class::Moved, message),
                local::PushFailure::Git(e) => fail(e),
                local::PushFailure::Repo(e) => disk(e),
            });
        }
        let answers: Rc<RefCell<Vec<PushedRef>>> = Rc::default();
        let moved = Rc::new(Cell::new(false));
        let mut callbacks = self.callbacks();
        let said: Rc<RefCell<String>> = Rc::default();
        let (heard, deadline) = (Rc::clone(&said), self.deadline);
        callbacks.sideband_progress(move |text| {
            let mut heard = heard.borrow_mut();
            if heard.len() < MOST_SAID {
                heard.push_str(&String::from_utf8_lossy(text));
            }
            !deadline.passed()
        });
        let seen = Rc::clone(&answers);
        callbacks.push_update_reference(move |name, rejected| {
            let rejected = rejected.map(str::to_owned);
            seen.borrow_mut().push(PushedRef { name: name.to_owned(), rejected, said: String::new() });
            Ok(())
        });
        let (wanted, lost) = (specs.to_vec(), Rc::clone(&moved));
        let over_http = self.over_http();
        callbacks.push_negotiation(move |updates| {
            // The connection is open, and what is pushed comes next.
            if over_http {
                crate::ffi::send_at_once();
            }
            for update in updates {
                let name = update.dst_refname().unwrap_or_default();
                let Some(spec) = wanted.iter().find(|spec| spec.name == name) else { continue };
                if Oid::from(update.src()) != spec.expected.unwrap_or_else(zero) {
                    lost.set(true);
                    return Err(git2::Error::new(
                        ErrorCode::NotFastForward,
                        ErrorClass::Callback,
                        format!("{name} is at {} on the server, not where it was expected", update.src()),
                    ));
                }
            }
            Ok(())
        });
        let mut options = PushOptions::new();
        options.remote_callbacks(callbacks).proxy_options(proxy()).follow_redirects(self.redirects());
        if let Some(cookie) = &self.cookie {
            options.custom_headers(&[cookie]);
        }
        // `+`: whether the update is allowed was decided above, against what the server has now.
        let refspecs: Vec<String> = specs
            .iter()
            .map(|spec| match spec.new {
                Some(new) => format!("+{new}:{}", spec.name),
                None => format!(":{}", spec.name),
            })
            .collect();
        let mut remote = git.remote_anonymous(&self.remote.url).map_err(fail)?;
        let result = remote.push(&refspecs, Some(&mut options));
        drop(options);
        match result {
            Err(e) if moved.get() => return Err(TransportError::new(Class::Moved, e.message())),
            Err(e) => return Err(fail(e)),
            Ok(()) => {}
        }
        let mut answers = answers.take();
        // libgit2 says Ok for refs the server refused; and a ref the server said nothing about was not taken either.
        for spec in
            specs.iter().filter(|spec| !answers.iter().any(|answer| answer.name == spec.name)).collect::<Vec<_>>()
        {
            answers.push(PushedRef {
                name: spec.name.clone(),
                rejected: Some("the server did not confirm it".to_owned()),
                said: String::new(),
            });
        }
        let said = said.take();
        for answer in &mut answers {
            answer.said.clone_from(&said);
        }
        Ok(answers)
    }
}

impl Transport for Libgit2 {
    fn list(&self, remote: &Remote) -> Result<Vec<RemoteRef>, TransportError> {
        let call = Call::new(remote)?;
        if call.over_http()
            && call.cookie.is_none()
            && let Some(listed) = self.kept.look(&call)
        {
            return listed;
        }
        call.run(Call::list)
    }

    fn fetch(&self, repo: &Repo, remote: &Remote, refspecs: &[String]) -> Result<FetchReport, TransportError> {
        let call = Call::new(remote)?;
        if call.address.scheme == Scheme::Local {
            call.require_path()?;
            return call.fetch(&repo.git, refspecs);
        }
        let (path, refspecs) = (repo.git_dir().to_owned(), refspecs.to_vec());
        call.run(move |call| call.fetch(&reopen(call, &path)?, &refspecs))
    }

    fn push(&self, repo: &Repo, remote: &Remote, specs: &[PushSpec]) -> Result<Vec<PushedRef>, TransportError> {
        let (path, specs) = (repo.git_dir().to_owned(), specs.to_vec());
        Call::new(remote)?.run(move |call| call.push(&reopen(call, &path)?, &specs))
    }
}

/// A thread that may be left behind needs a repository of its own.
fn reopen(call: &Call, path: &std::path::Path) -> Result<Repository, TransportError> {
    Repository::open(path).map_err(|e| call.error(&e, "opening the local repository for"))
}

fn proxy<'a>() -> ProxyOptions<'a> {
    let mut options = ProxyOptions::new();
    options.auto();
    options
}

fn advertised(head: &git2::RemoteHead<'_>) -> RemoteRef {
    RemoteRef { name: head.name().to_owned(), oid: head.oid().into(), target: head.symref_target().map(str::to_owned) }
}

fn zero() -> Oid {
    Oid::from_bytes([0; 20])
}

fn check_host_key(
    known_hosts: &KnownHosts,
    host: &str,
    port: Option<u16>,
    key: Option<&[u8]>,
) -> Result<CertificateCheckStatus, git2::Error> {
    let refuse = |message: String| Err(git2::Error::new(ErrorCode::Certificate, ErrorClass::Callback, &message));
    let file = match known_hosts {
        KnownHosts::Any => return Ok(CertificateCheckStatus::CertificateOk),
        KnownHosts::None => {
            return refuse(format!("no known hosts are configured, so the key of {host} cannot be checked"));
        }
        KnownHosts::File(file) => file,
    };
    let Some(key) = key else { return refuse(format!("{host} showed no key")) };
    match known_hosts::check_file(file, host, port, key) {
        Ok(Verdict::Known) => Ok(CertificateCheckStatus::CertificateOk),
        Ok(Verdict::Different) => refuse(format!(
            "the key of {host} is not the one in {}: somebody may be standing in between, or the server has a new key",
            file.display()
        )),
        Ok(Verdict::Unknown) => refuse(format!("{host} is not in {}", file.display())),
        Ok(Verdict::Revoked) => refuse(format!("the key of {host} is revoked in {}", file.display())),
        Err(e) => refuse(format!("cannot read the known hosts in {}: {e}", file.display())),
    }
}
