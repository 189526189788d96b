#!/bin/sh
# Says which of the few programs nobody can fetch for you are missing, and how to get them.
missing=0

need() { # program, what for, how
	command -v "$1" >/dev/null 2>&1 && return
	echo "missing: $1 ($2). Install it: $3" >&2
	missing=1
}

need git "the data lives in git" "apt-get install git"
need cargo "builds the programs" "see rust-lang.org, or apt-get install cargo where it is new enough"
need cc "links them and builds libgit2" "apt-get install build-essential"
need make "OpenSSL's build" "apt-get install make"
need perl "OpenSSL's build" "apt-get install perl"
need python3 "fetches the pinned tools" "apt-get install python3"
[ "$missing" = 0 ] || exit 1

# The edition and the library versions need the Rust named in Cargo.toml.
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
have=$(cargo --version | sed 's/^cargo \([0-9]*\.[0-9]*\).*/\1/')
lowest=$(printf '%s\n%s\n' "$wanted" "$have" | sort -t. -k1,1n -k2,2n | head -n 1)
if [ "$lowest" != "$wanted" ]; then
	echo "cargo $have is older than $wanted, which Baft needs. Update it: rustup update stable" >&2
	exit 1
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
	echo "python3 is older than 3.10, which the pinned packages need" >&2
	exit 1
}
