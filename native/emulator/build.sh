#!/bin/sh
# build.sh OUT_DIR - builds libcuda.so.1 (the emulator) and libcudnn.so.9 (its stub) with g++.
# Does nothing when they are newer than the sources; without g++ says so and exits 0.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh OUT_DIR}
CXX=${CXX:-g++}
if ! command -v "$CXX" >/dev/null 2>&1; then
  echo "emulator: no $CXX, libcuda.so.1 is not built and kernels cannot run without a GPU; install g++" >&2
  exit 0
fi
mkdir -p "$out/obj"
out=$(cd "$out" && pwd)
flags="-std=c++17 -O2 -g1 -fPIC -Wall -Wextra -Werror -fno-strict-aliasing -ffile-prefix-map=$here=."

# newer TARGET SOURCE...: true when the target is at least as new as every source
newer() {
  target=$1; shift
  [ -f "$target" ] || return 1
  for source in "$@"; do
    if [ "$source" -nt "$target" ]; then return 1; fi
  done
}

compile() { # SOURCE OBJECT
  if newer "$2" "$1" "$here"/src/*.h "$here"/include/*.h "$here/build.sh"; then return 0; fi
  "$CXX" $flags -fvisibility=hidden -c "$1" -o "$2.part"
  mv "$2.part" "$2"
}

# stubs LIST RESULT FILE OBJECT...: a function for each listed symbol that the objects do not define
stubs() {
  list=$1; result=$2; file=$3; shift 3
  nm --defined-only "$@" | awk '{print $3}' | LC_ALL=C sort -u > "$file.have"
  grep -v '^#' "$list" | LC_ALL=C sort -u | LC_ALL=C comm -23 - "$file.have" |
    awk -v r="$result" '{print "extern \"C\" __attribute__((visibility(\"default\"))) int " $1 "(void) { return " r "; }"}' > "$file"
  rm -f "$file.have"
}

link() { # LIBRARY SONAME OBJECT...
  library=$1; soname=$2; shift 2
  "$CXX" -shared -fPIC -o "$library.part" -Wl,-soname,"$soname" -Wl,-z,nodelete -Wl,-Bsymbolic \
    -Wl,--no-undefined -Wl,--build-id=none "$@"
  mv "$library.part" "$library"
}

objects=
for source in "$here"/src/*.cc; do
  object=$out/obj/$(basename "$source" .cc).o
  compile "$source" "$object"
  objects="$objects $object"
done
if ! newer "$out/libcuda.so.1" $objects "$here/stubs/driver-symbols.txt"; then
  stubs "$here/stubs/driver-symbols.txt" 801 "$out/obj/driver_stubs.cc" $objects
  "$CXX" -O1 -fPIC -c "$out/obj/driver_stubs.cc" -o "$out/obj/driver_stubs.o"
  link "$out/libcuda.so.1" libcuda.so.1 $objects "$out/obj/driver_stubs.o" -ldl -lpthread
fi

cudnn=$out/obj/cudnn.cudnn.o
compile "$here/cudnn/cudnn.cc" "$cudnn"
if ! newer "$out/libcudnn.so.9" "$cudnn" "$out/libcuda.so.1" "$here/stubs/cudnn-symbols.txt"; then
  stubs "$here/stubs/cudnn-symbols.txt" 3000 "$out/obj/cudnn_stubs.cc" "$cudnn"
  "$CXX" -O1 -fPIC -c "$out/obj/cudnn_stubs.cc" -o "$out/obj/cudnn_stubs.o"
  link "$out/libcudnn.so.9" libcudnn.so.9 "$cudnn" "$out/obj/cudnn_stubs.o" "$out/libcuda.so.1"
fi
