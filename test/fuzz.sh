#!/usr/bin/env bash
# Runs the fuzz targets of this tree: all of them, or those whose turn it is.
#   test/fuzz.sh TIME            every target for TIME (20s)
#   test/fuzz.sh TIME TURN OF    the targets whose place in the sorted list is TURN modulo OF
#   test/fuzz.sh keep            writes what was found interesting into the corpus that stands in the tree
# A run begins with that corpus, which it unpacks beside what Go's build cache (go env GOCACHE, folder fuzz) has already. An input
# that fails is written to the package's testdata/fuzz, to be committed with its mend.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$(go env GOCACHE)/fuzz corpus=$PWD/test/testdata/corpus.tar.gz
mkdir -p "$cache"
mapfile -t targets < <(grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed -E 's#^\./(.*)/[^/]*:func (.*)#\1 \2#' | sort -u)
if [ "${1:-}" = keep ]; then
  cd "$cache"
  for t in "${targets[@]}"; do
    dir=github.com/sipio/sipio/${t/ //}
    [ ! -d "$dir" ] || find "$dir" -type f -size -2k
  done | sort | tar --no-recursion --mtime=@0 --owner=0 --group=0 -cf - -T - | gzip -9n > "$corpus"
  ls -l "$corpus"
  exit
fi
tar -xzf "$corpus" -C "$cache" --skip-old-files
time=${1:-20s} turn=${2:-0} of=${3:-1} out=$(mktemp)
trap 'rm -f "$out"' EXIT
echo "${#targets[@]} fuzz targets, turn $((turn % of)) of $of, $time each"
for i in "${!targets[@]}"; do
  [ $((i % of)) = $((turn % of)) ] || continue
  read -r package target <<<"${targets[i]}"
  echo "== $package $target"
  # Go before 1.27 says so of itself now and then when the time is over (go.dev/issue/75804). An input that fails has other words, and a file.
  (cd "$package" && go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" .) 2>&1 | tee "$out" ||
    [ "$(sed -n "/^--- FAIL: $target /,\$ p" "$out" | sed -n 2,3p)" = $'    context deadline exceeded\nFAIL' ]
done
