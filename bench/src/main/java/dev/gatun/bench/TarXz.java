package dev.gatun.bench;

import dev.gatun.engine.io.AtomicFile;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.apache.commons.compress.archivers.tar.TarConstants;

/** Packs a folder as .tar.xz; the same files give the same bytes. */
final class TarXz {
  private static final int EXECUTABLE = 0755;
  private static final int PLAIN = 0644;
  private static final int PRESET = Integer.getInteger("gatun.bundle.preset", 6);

  private TarXz() {}

  static void pack(Path folder, Path target) throws IOException {
    List<Path> files;
    try (Stream<Path> all = Files.walk(folder)) {
      files = all.sorted().toList();
    }
    AtomicFile.write(
        target,
        channel -> {
          try (TarArchiveOutputStream tar =
              new TarArchiveOutputStream(
                  new ChunkedXz(Channels.newOutputStream(channel), PRESET))) {
            tar.setLongFileMode(TarArchiveOutputStream.LONGFILE_POSIX);
            for (Path file : files) {
              add(tar, folder.getParent().relativize(file).toString(), file);
            }
          }
        });
  }

  private static void add(TarArchiveOutputStream tar, String name, Path file) throws IOException {
    if (Files.isSymbolicLink(file)) {
      TarArchiveEntry link = new TarArchiveEntry(name, TarConstants.LF_SYMLINK);
      link.setLinkName(Files.readSymbolicLink(file).toString());
      put(tar, link, null);
    } else if (Files.isDirectory(file)) {
      TarArchiveEntry folder = new TarArchiveEntry(name + "/");
      folder.setMode(EXECUTABLE);
      put(tar, folder, null);
    } else {
      TarArchiveEntry entry = new TarArchiveEntry(name);
      entry.setMode(Files.isExecutable(file) ? EXECUTABLE : PLAIN);
      entry.setSize(Files.size(file));
      put(tar, entry, file);
    }
  }

  private static void put(TarArchiveOutputStream tar, TarArchiveEntry entry, Path file)
      throws IOException {
    entry.setModTime(0);
    entry.setIds(0, 0);
    entry.setNames("root", "root");
    tar.putArchiveEntry(entry);
    if (file != null) {
      Files.copy(file, tar);
    }
    tar.closeArchiveEntry();
  }
}
