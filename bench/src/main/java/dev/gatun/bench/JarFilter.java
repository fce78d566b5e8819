package dev.gatun.bench;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/** Copies a jar without what nobody loads, and uncompressed, since the archive is compressed. */
final class JarFilter {
  /** Libraries for other uses and platforms, headers, build leftovers. */
  private static final Map<String, Pattern> UNUSED =
      Map.of(
          "dnnl", Pattern.compile(".*/(include|share)/.*|.*libjnidnnl.*|META-INF/native-image/.*"),
          "jcuda-natives", Pattern.compile("lib/lib(JNvPTXCompiler|JNvrtc|JCudaRuntime).*"),
          "gatun-native", Pattern.compile(".*/emulator/obj/.*"),
          "gatun-kernels", Pattern.compile(".*\\.ptxas\\.txt"));

  private static final Pattern NONE = Pattern.compile("(?!)");
  private static final Pattern LICENCE =
      Pattern.compile("META-INF/[^/]*(LICENSE|NOTICE|COPYING)[^/]*");
  private static final Pattern SIGNATURE = Pattern.compile("META-INF/[^/]*\\.(SF|RSA|DSA|EC)");

  /** 1980-01-01, the zip format's zero. */
  private static final long EPOCH_MILLIS = 315_532_800_000L;

  private final String name;
  private final Pattern unused;

  /**
   * For one artifact.
   *
   * @param name without its version
   */
  JarFilter(String name) {
    this.name = name;
    unused = UNUSED.getOrDefault(name, NONE);
  }

  /** Copies a jar, or a folder of classes, to a jar; licence texts go to a folder as well. */
  void copy(Path source, Path target, Path licences) throws IOException {
    Map<String, byte[]> entries = Files.isDirectory(source) ? readFolder(source) : readJar(source);
    try (OutputStream file = Files.newOutputStream(target);
        ZipOutputStream jar = new ZipOutputStream(file)) {
      jar.setMethod(ZipOutputStream.STORED);
      for (Map.Entry<String, byte[]> entry : entries.entrySet()) {
        put(jar, entry.getKey(), entry.getValue());
        if (LICENCE.matcher(entry.getKey()).matches()) {
          Files.write(
              licences.resolve(name + "-" + entry.getKey().substring("META-INF/".length())),
              entry.getValue());
        }
      }
    }
  }

  private boolean wanted(String entry) {
    return !unused.matcher(entry).matches() && !SIGNATURE.matcher(entry).matches();
  }

  private Map<String, byte[]> readJar(Path source) throws IOException {
    Map<String, byte[]> entries = new TreeMap<>();
    try (ZipFile zip = new ZipFile(source.toFile())) {
      for (ZipEntry entry : zip.stream().toList()) {
        if (!entry.isDirectory() && wanted(entry.getName())) {
          try (InputStream in = zip.getInputStream(entry)) {
            entries.put(entry.getName(), in.readAllBytes());
          }
        }
      }
    }
    return entries;
  }

  private Map<String, byte[]> readFolder(Path source) throws IOException {
    Map<String, byte[]> entries = new TreeMap<>();
    try (Stream<Path> files = Files.walk(source)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        String entry = source.relativize(file).toString();
        if (wanted(entry)) {
          entries.put(entry, Files.readAllBytes(file));
        }
      }
    }
    return entries;
  }

  private static void put(ZipOutputStream jar, String name, byte[] bytes) throws IOException {
    CRC32 crc = new CRC32();
    crc.update(bytes);
    ZipEntry entry = new ZipEntry(name);
    entry.setSize(bytes.length);
    entry.setCrc(crc.getValue());
    entry.setTime(EPOCH_MILLIS);
    jar.putNextEntry(entry);
    jar.write(bytes);
    jar.closeEntry();
  }
}
