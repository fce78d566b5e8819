package dev.gatun.ffi;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/** Where NVIDIA's libraries lie that are no part of the driver: a toolkit, wheels, packages. */
final class NvidiaLibraries {
  private static final String REDIST = "/org/bytedeco/cuda/linux-x86_64/";
  private static final List<String> BELOW_TOOLKIT = List.of("lib64", "targets/x86_64-linux/lib");
  private static final List<String> SYSTEM_FOLDERS =
      List.of(
          "/usr/local/cuda/lib64",
          "/usr/local/cuda/targets/x86_64-linux/lib",
          "/usr/lib/x86_64-linux-gnu",
          "/usr/lib64",
          "/usr/lib",
          "/usr/local/lib");

  private NvidiaLibraries() {}

  /** cuDNN 9, for CUDA 13 or 12. */
  static LibraryFinder dnn() {
    return finder(
        "cuDNN",
        "gatun.libcudnn",
        List.of("libcudnn.so.9"),
        List.of("nvidia/cudnn/lib"),
        "CUDNN_PATH");
  }

  /**
   * @param newestMajor the driver's major version of CUDA: it takes nothing newer
   */
  static LibraryFinder nvrtc(int newestMajor) {
    LibraryFinder finder =
        finder(
            "NVRTC",
            "gatun.nvrtc",
            versioned("libnvrtc.so.", newestMajor),
            List.of("nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"));
    if (newestMajor >= 13) {
      // the optional dependency org.bytedeco:cuda-redist
      finder.resource(REDIST + "libnvrtc.so.13", REDIST + "libnvrtc-builtins.so.13.1");
    }
    return finder;
  }

  /**
   * @param newestMajor the driver's major version of CUDA: it takes nothing newer
   */
  static LibraryFinder cublasLt(int newestMajor) {
    return finder(
        "cuBLASLt",
        "gatun.cublaslt",
        versioned("libcublasLt.so.", newestMajor),
        List.of("nvidia/cu13/lib", "nvidia/cublas/lib"));
  }

  private static List<String> versioned(String name, int newestMajor) {
    return Stream.of(13, 12).filter(major -> major <= newestMajor).map(m -> name + m).toList();
  }

  /** A library of any of these file names, the first preferred within each place. */
  private static LibraryFinder finder(
      String name, String property, List<String> files, List<String> wheels, String... roots) {
    String[] fileNames = files.toArray(String[]::new);
    LibraryFinder finder =
        new LibraryFinder(name + " (" + String.join(", ", files) + ")")
            .property(property)
            .variable(property.toUpperCase(Locale.ROOT).replace('.', '_'), "");
    for (String root : roots) {
      finder.variable(root, below(List.of("lib", "lib64"), files));
    }
    finder
        .variable("CUDA_PATH", below(BELOW_TOOLKIT, files))
        .variable("CUDA_HOME", below(BELOW_TOOLKIT, files))
        .loaderPath(fileNames)
        .pythonPackages(below(wheels, files))
        .folders("system folders", SYSTEM_FOLDERS, files);
    return finder;
  }

  private static String[] below(List<String> folders, List<String> files) {
    List<String> all = new ArrayList<>();
    for (String folder : folders) {
      for (String file : files) {
        all.add(folder + "/" + file);
      }
    }
    return all.toArray(String[]::new);
  }
}
