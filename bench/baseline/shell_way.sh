#!/bin/sh
# The shell way on a shortened timer: pull every PERIOD seconds, and run the plain script when something came.
#
#   shell_way.sh CLONE DATABASE PYTHON PERIOD [python|c]
#
# The specification's own timers are 60 seconds for the pull and 30 minutes for the import.
clone=$1 database=$2 python=$3 period=$4 loader=${5:-python}
script=$(dirname "$0")/import_plain.py
imported=
while :; do
	git -C "$clone" pull --quiet --ff-only
	head=$(git -C "$clone" rev-parse HEAD)
	if [ "$head" != "$imported" ]; then
		"$python" "$script" "$clone" "$database" --loader "$loader" && imported=$head
	fi
	sleep "$period"
done
