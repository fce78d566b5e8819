#!/bin/sh
# build-kernels.sh OUT_DIR - compiles every src/main/cuda/<family>/<op>.cu:
#   OUT_DIR/<op>.fatbin    by nvcc: sm_80, sm_86, sm_89, sm_90a; PTX of 8.0 and, with clusters, of 9.0 for the rest
#   OUT_DIR/<op>.ptxas.txt registers, shared memory and spills; a spill fails the build, and so does an
#                          instruction that the file's header names after "PTX:" and its PTX lacks
#   OUT_DIR/<op>.host.so   by g++, for the emulator
#   OUT_DIR/<op>.cu, OUT_DIR/common/*.cuh  copies, for compilation at run time
# KERNELS_SRC names another source root (a patched copy), EMULATOR_INCLUDE the emulator's headers,
# GATUN_HOST_OPTIMIZE other options for g++ than -O3 -march=x86-64-v3 -g1.
# Does nothing for outputs newer than the sources. Without a compiler says what is skipped, exits 0.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build-kernels.sh OUT_DIR}
src=$(cd "${KERNELS_SRC:-$here/src/main/cuda}" && pwd)
include=${EMULATOR_INCLUDE:-$here/../native/emulator/include}
mkdir -p "$out"
out=$(cd "$out" && pwd)

CXX=${CXX:-g++}
nvcc=
if [ -n "${CUDA_PATH:-}" ] && [ -x "$CUDA_PATH/bin/nvcc" ]; then
  nvcc=$CUDA_PATH/bin/nvcc
elif command -v nvcc >/dev/null 2>&1; then
  nvcc=nvcc
fi
if [ "${GATUN_NVCC:-}" = none ]; then nvcc=; fi
gxx=
if command -v "$CXX" >/dev/null 2>&1; then gxx=$CXX; fi
if [ -z "$nvcc" ]; then
  echo "kernels: no nvcc, *.fatbin are not built (NVRTC compiles at first use); install the CUDA toolkit 13 to build them" >&2
fi
if [ -z "$gxx" ]; then
  echo "kernels: no $CXX, *.host.so are not built and kernels cannot run without a GPU; install g++" >&2
fi

newer() { # TARGET SOURCE...
  target=$1; shift
  [ -f "$target" ] || return 1
  for source in "$@"; do
    if [ "$source" -nt "$target" ]; then return 1; fi
  done
}

arch="-gencode arch=compute_80,code=sm_80 -gencode arch=compute_86,code=sm_86"
arch="$arch -gencode arch=compute_89,code=sm_89 -gencode arch=compute_90a,code=sm_90a"
arch="$arch -gencode arch=compute_80,code=compute_80 -gencode arch=compute_90,code=compute_90"

mkdir -p "$out/common"
for file in "$src"/common/*.cuh; do
  cmp -s "$file" "$out/common/${file##*/}" || cp "$file" "$out/common/"
done

for file in "$src"/*/*.cu; do
  name=$(basename "$file" .cu)
  relative=${file#"$src"/}
  cmp -s "$file" "$out/$name.cu" || cp "$file" "$out/$name.cu"
  if [ -n "$nvcc" ] && ! newer "$out/$name.fatbin" "$file" "$src"/common/*.cuh "$here/build-kernels.sh"; then
    if ! (cd "$src" && "$nvcc" -std=c++17 -O3 -lineinfo -Werror all-warnings -Xptxas -v --threads 2 -I. $arch \
        -fatbin "$relative" -o "$out/$name.fatbin.part") > "$out/$name.ptxas.txt" 2>&1; then
      cat "$out/$name.ptxas.txt" >&2
      exit 1
    fi
    if grep -E 'bytes spill' "$out/$name.ptxas.txt" | grep -vqE ' 0 bytes spill stores, 0 bytes spill loads'; then
      grep -E 'Compiling|bytes spill' "$out/$name.ptxas.txt" >&2
      echo "kernels: $name spills registers" >&2
      exit 1
    fi
    wanted=$(sed -n 's/^ \* PTX: //p' "$file")
    if [ -n "$wanted" ]; then
      (cd "$src" && "$nvcc" -std=c++17 -O3 -I. -arch=compute_80 -ptx "$relative" -o "$out/$name.ptx.part")
      for instruction in $wanted; do
        if ! grep -qF "$instruction" "$out/$name.ptx.part"; then
          echo "kernels: $name has no $instruction in its PTX" >&2
          exit 1
        fi
      done
      rm "$out/$name.ptx.part"
    fi
    mv "$out/$name.fatbin.part" "$out/$name.fatbin"
  fi
  if [ -n "$gxx" ] && ! newer "$out/$name.host.so" "$file" "$src"/common/*.cuh "$include"/*.h "$here/build-kernels.sh"; then
    # No contraction: the emulator rounds each operation, as the double reference's bound expects. What is
    # read or written at once and not aligned for it traps, as on a GPU; a host would not mind.
    (cd "$src" && "$gxx" -x c++ -std=c++17 ${GATUN_HOST_OPTIMIZE:--O3 -march=x86-64-v3 -g1} -fPIC -shared -fno-gnu-unique -ffp-contract=off \
      -fno-strict-aliasing -fsanitize=alignment -fsanitize-undefined-trap-on-error -Wall -Wextra -Werror -Wno-unknown-pragmas -DGATUN_EMULATED -I. \
      -I "$include" -ffile-prefix-map="$include"=emulator -ffile-prefix-map="$src"=. -Wl,-Bsymbolic -Wl,--build-id=none \
      "$relative" -o "$out/$name.host.so.part")
    mv "$out/$name.host.so.part" "$out/$name.host.so"
  fi
done
