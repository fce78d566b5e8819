package dev.gatun.ffi;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.Properties;
import java.util.Set;

/**
 * Unpacks native libraries from the class path into a folder that only this user can write to.
 *
 * <p>The folder is the system property {@code gatun.cache}, else the variable {@code GATUN_CACHE},
 * else {@code $XDG_CACHE_HOME/gatun}, else {@code ~/.cache/gatun}. A file lies below the SHA-256 of
 * its content, and that hash is checked again before every use: a file somebody else changed is
 * replaced, never opened.
 */
public final class NativeFiles {
  private static final Set<PosixFilePermission> PRIVATE =
      PosixFilePermissions.fromString("rwx------");

  private static final Integer ROOT = 0;

  private NativeFiles() {}

  /**
   * The unpacked copies of class-path resources, all in one folder so that they find each other.
   *
   * @param resources absolute resource names, such as {@code /dev/gatun/emulator/libcuda.so.1}
   * @return the path of the first one
   * @throws LibraryException if a resource is missing or the folder cannot be used
   */
  public static Path unpack(String... resources) {
    String[] hashes = new String[resources.length];
    for (int i = 0; i < resources.length; i++) {
      hashes[i] = expectedHash(resources[i]);
    }
    Path folder = privateFolder(cacheRoot().resolve("natives").resolve(hashes[0].substring(0, 16)));
    for (int i = 0; i < resources.length; i++) {
      unpackOne(resources[i], hashes[i], folder);
    }
    return folder.resolve(fileName(resources[0]));
  }

  /** The per-user folder everything unpacked or cached lies in; created by whoever writes there. */
  public static Path cacheRoot() {
    String property = System.getProperty("gatun.cache");
    if (property != null) {
      return Path.of(property);
    }
    String variable = System.getenv("GATUN_CACHE");
    if (variable != null && !variable.isBlank()) {
      return Path.of(variable);
    }
    String xdg = System.getenv("XDG_CACHE_HOME");
    if (xdg != null && xdg.startsWith("/")) {
      return Path.of(xdg, "gatun");
    }
    return Path.of(System.getProperty("user.home"), ".cache", "gatun");
  }

  /**
   * Creates {@code folder} for this user alone.
   *
   * @throws LibraryException if it cannot be created, or exists and is others' or theirs to write
   *     to
   */
  public static Path privateFolder(Path folder) {
    try {
      Files.createDirectories(folder, PosixFilePermissions.asFileAttribute(PRIVATE));
      Set<PosixFilePermission> now =
          Files.getPosixFilePermissions(folder, LinkOption.NOFOLLOW_LINKS);
      Set<PosixFilePermission> foreign =
          EnumSet.of(PosixFilePermission.GROUP_WRITE, PosixFilePermission.OTHERS_WRITE);
      foreign.retainAll(now);
      if (!foreign.isEmpty()) {
        throw new LibraryException(
            folder
                + " can be written to by other users, so libraries are not opened from it:"
                + " run 'chmod go-w "
                + folder
                + "' or set GATUN_CACHE to a private folder");
      }
      Object owner = Files.getAttribute(folder, "unix:uid", LinkOption.NOFOLLOW_LINKS);
      Object self = Files.getAttribute(Path.of("/proc/self"), "unix:uid");
      if (!owner.equals(self) && !owner.equals(ROOT)) {
        throw new LibraryException(
            folder
                + " belongs to another user ("
                + owner
                + "), so libraries are not opened from it: set GATUN_CACHE to a folder of your own");
      }
      return folder;
    } catch (IOException e) {
      throw new LibraryException(
          "cannot create the private folder "
              + folder
              + " ("
              + e
              + "): set GATUN_CACHE to a folder this user can write to",
          e);
    }
  }

  /** SHA-256 of a resource: pinned in natives.properties, or of the content for what we built. */
  private static String expectedHash(String resource) {
    String pinned = Pinned.HASHES.getProperty(resource);
    if (pinned != null) {
      return pinned;
    }
    try (InputStream in = open(resource)) {
      MessageDigest digest = sha256();
      byte[] block = new byte[1 << 16];
      for (int n = in.read(block); n > 0; n = in.read(block)) {
        digest.update(block, 0, n);
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (IOException e) {
      throw new LibraryException("cannot read " + resource + " from the class path: " + e, e);
    }
  }

  private static void unpackOne(String resource, String expected, Path folder) {
    Path target = folder.resolve(fileName(resource));
    try {
      if (Files.isRegularFile(target, LinkOption.NOFOLLOW_LINKS)
          && expected.equals(hashOf(target))) {
        return;
      }
      Path temporary = Files.createTempFile(folder, "unpack", ".tmp");
      try {
        MessageDigest digest = sha256();
        try (InputStream in = open(resource);
            OutputStream out = new DigestOutputStream(Files.newOutputStream(temporary), digest)) {
          in.transferTo(out);
        }
        String actual = HexFormat.of().formatHex(digest.digest());
        if (!actual.equals(expected)) {
          throw new LibraryException(
              resource
                  + " on the class path has SHA-256 "
                  + actual
                  + ", expected "
                  + expected
                  + ": the jar is damaged or of another version, download it again");
        }
        try {
          Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (AtomicMoveNotSupportedException e) {
          Files.move(temporary, target, StandardCopyOption.REPLACE_EXISTING);
        }
      } finally {
        Files.deleteIfExists(temporary);
      }
    } catch (IOException e) {
      throw new LibraryException(
          "cannot unpack "
              + resource
              + " into "
              + folder
              + " ("
              + e
              + "): free some space there or set GATUN_CACHE to another folder",
          e);
    }
  }

  private static String hashOf(Path file) throws IOException {
    MessageDigest digest = sha256();
    try (InputStream in = Files.newInputStream(file)) {
      byte[] block = new byte[1 << 20];
      for (int n = in.read(block); n > 0; n = in.read(block)) {
        digest.update(block, 0, n);
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static InputStream open(String resource) {
    InputStream in = NativeFiles.class.getResourceAsStream(resource);
    if (in == null) {
      throw new LibraryException(resource + " is not on the class path");
    }
    return in;
  }

  private static String fileName(String resource) {
    return resource.substring(resource.lastIndexOf('/') + 1);
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }

  private static final class Pinned {
    static final Properties HASHES = new Properties();

    static {
      try (InputStream in = NativeFiles.class.getResourceAsStream("natives.properties")) {
        HASHES.load(in);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }
}
