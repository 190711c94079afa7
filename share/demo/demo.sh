#!/bin/sh
# `make demo`: a server, a clone of it, two pushes, and their results read back with plain git. Everything is in one new
# folder, whose path is printed at the end; gzl is the one on PATH.
set -eu
source=$(cd "$(dirname "$0")" && pwd)
place=$(mktemp -d "${TMPDIR:-/tmp}/gzl-demo.XXXXXX")

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }

# Nobody's configuration but this: the demonstration looks the same everywhere.
export GIT_CONFIG_GLOBAL="$place/gitconfig" GIT_CONFIG_NOSYSTEM=1
git config --global user.name 'Demo Author'
git config --global user.email demo@example.com
git config --global init.defaultBranch main
git config --global advice.detachedHead false

say "1. A bare repository on the \"server\" gets gzl's hooks"
cd "$place"
run git init --quiet --bare server.git
run gzl -C server.git init

say '2. A clone with a C program and a Gzlfile; its first commit is pushed, and the push waits for the job'
run git clone --quiet server.git clone
cd clone
cp "$source/Gzlfile" "$source"/*.c "$source"/*.h .
run cat Gzlfile
git add --all
run git commit --quiet --message 'Greet by name'
run git push --quiet --push-option=gzl.wait origin HEAD

say '3. A second commit breaks the greeting; this push does not wait, and the job is followed with `gzl attach`'
sed 's/Hello, %s!/Hullo, %s!/' greet.c >greet.new && mv greet.new greet.c
run git commit --quiet --all --message 'Greet in another way'
run git push --quiet origin HEAD
run gzl -C ../server.git attach main || echo "(its exit status is $?: the job did not pass)"

say '4. The results came with the repository: a plain `git fetch`, and plain git shows them'
run gzl init
run git fetch --quiet
run git --no-pager log --notes=gzl --format='%C(auto)%h %s%n%N'
run gzl show HEAD

# The manager would leave by itself after ten minutes of nothing to do; like anything of gzl's it may be killed.
kill "$(cut -d' ' -f1 ../server.git/gzl/manager.pid)"
say "Look around: $place"
echo "  cd $place/clone && gzl list && gzl logs HEAD/test"
