//! A mirror that fetches for months stays small in packs, and its readers notice nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use baft_repo::transport::{Libgit2, Remote, Transport};
use baft_repo::{Oid, Repo, RepoPath, Settings};
use baft_tests::GitRemote;
use baft_tests::git::git;

const REFSPEC: &str = "+refs/heads/main:refs/baft/upstream";

fn packs(repo: &Repo) -> usize {
    let folder = std::fs::read_dir(repo.git_dir().join("objects/pack")).unwrap();
    folder.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "pack")).count()
}

#[test]
fn small_packs_become_one_while_readers_read() {
    baft_repo::init(&Settings::default()).unwrap();
    let (source, _) = GitRemote::with_files(&[("data/a.yaml", "0")]);
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::create_bare(folder.path().join("mirror.git")).unwrap();
    let remote = Remote { url: source.url(), ..Remote::default() };
    let mut commits: Vec<Oid> = Vec::new();
    for number in 0..25 {
        commits.push(source.commit(&[("data/a.yaml", &number.to_string())]).parse().unwrap());
        Libgit2::new().fetch(&repo, &remote, &[REFSPEC.to_owned()]).unwrap();
    }
    assert_eq!(packs(&repo), 25);
    assert_eq!(repo.consolidate(25, &|| false).unwrap(), 0, "few enough");
    assert_eq!(repo.consolidate(5, &|| true).unwrap(), 0, "interrupted");
    assert_eq!(packs(&repo), 25);

    let (stop, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let path = RepoPath::new("data/a.yaml").unwrap();
    let read = |reader: &Repo, number: usize| {
        let content = reader.read_path(commits[number], &path).unwrap().unwrap();
        assert_eq!(content, number.to_string().as_bytes());
        reads.fetch_add(1, Ordering::AcqRel);
    };
    std::thread::scope(|scope| {
        // One reader has seen every index and opened one pack; others come and go.
        let veteran = Repo::open(repo.path()).unwrap();
        read(&veteran, 3);
        let (stop, read, mirror) = (&stop, &read, repo.path());
        for offset in 0..2 {
            scope.spawn(move || {
                let mut number = offset;
                while !stop.load(Ordering::Acquire) {
                    read(&Repo::open(mirror).unwrap(), number % 25);
                    number += 1;
                }
            });
        }
        let before = reads.load(Ordering::Acquire);
        while reads.load(Ordering::Acquire) < before + 20 {
            std::thread::yield_now();
        }
        let removed = repo.consolidate(5, &|| false);
        for number in 0..25 {
            read(&veteran, number);
        }
        stop.store(true, Ordering::Release);
        assert_eq!(removed.unwrap(), 25);
    });
    assert_eq!(packs(&repo), 1);
    git(repo.path(), &["fsck", "--strict", "--full"]);
    let next: Oid = source.commit(&[("data/a.yaml", "next")]).parse().unwrap();
    Libgit2::new().fetch(&repo, &remote, &[REFSPEC.to_owned()]).unwrap();
    assert_eq!(repo.read_path(next, &path).unwrap().unwrap(), b"next");
}
