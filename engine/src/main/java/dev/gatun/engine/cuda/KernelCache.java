package dev.gatun.engine.cuda;

import dev.gatun.engine.DeviceException;
import dev.gatun.ffi.LibraryException;
import dev.gatun.ffi.NativeFiles;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Optional;

/**
 * Compiled kernels on disk, each below the hash of all that went into it. A file begins with the
 * SHA-256 of its content, which is checked before every use: one that was cut short or changed is
 * not there. The folder is this user's alone.
 */
final class KernelCache {
  private static final int HASH_BYTES = 32;

  private final Path folder;

  KernelCache(Path folder) {
    this.folder = folder;
  }

  /** In the folder where natives are unpacked, too. */
  static KernelCache ofUser() {
    return new KernelCache(NativeFiles.cacheRoot().resolve("kernels"));
  }

  /** A name for what these parts make; no two lists of parts run into each other. */
  static String key(Iterable<String> parts) {
    MessageDigest digest = sha256();
    for (String part : parts) {
      byte[] bytes = part.getBytes(StandardCharsets.UTF_8);
      digest.update((bytes.length + ":").getBytes(StandardCharsets.UTF_8));
      digest.update(bytes);
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  Optional<byte[]> find(String key) {
    Path file = folder.resolve(key);
    try {
      if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
        return Optional.empty();
      }
      NativeFiles.privateFolder(folder);
      byte[] all = Files.readAllBytes(file);
      if (all.length <= HASH_BYTES) {
        return Optional.empty();
      }
      byte[] image = Arrays.copyOfRange(all, HASH_BYTES, all.length);
      byte[] hash = Arrays.copyOf(all, HASH_BYTES);
      return MessageDigest.isEqual(hash, sha256().digest(image))
          ? Optional.of(image)
          : Optional.empty();
    } catch (LibraryException e) {
      throw new DeviceException(e.getMessage(), e);
    } catch (IOException e) {
      throw new DeviceException("cannot read the compiled kernel " + file + ": " + e, e);
    }
  }

  /** Seen by others whole or not at all. */
  void store(String key, byte[] image) {
    try {
      NativeFiles.privateFolder(folder);
      Path temporary = Files.createTempFile(folder, "kernel", ".tmp");
      try {
        byte[] all = Arrays.copyOf(sha256().digest(image), HASH_BYTES + image.length);
        System.arraycopy(image, 0, all, HASH_BYTES, image.length);
        Files.write(temporary, all);
        Files.move(
            temporary,
            folder.resolve(key),
            StandardCopyOption.ATOMIC_MOVE,
            StandardCopyOption.REPLACE_EXISTING);
      } finally {
        Files.deleteIfExists(temporary);
      }
    } catch (LibraryException e) {
      throw new DeviceException(e.getMessage(), e);
    } catch (IOException e) {
      throw new DeviceException(
          "cannot keep a compiled kernel in "
              + folder
              + " ("
              + e
              + "): free some space there or set GATUN_CACHE to another folder",
          e);
    }
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }
}
