package dev.gatun.engine.cuda;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Applies a unified diff to a folder. The lines to replace are found by content, once each. */
final class SourcePatch {
  private SourcePatch() {}

  static void apply(Path patch, Path folder) throws IOException {
    Path target = null;
    List<String> before = new ArrayList<>();
    List<String> after = new ArrayList<>();
    boolean inHunk = false;
    int hunks = 0;
    for (String line : Files.readAllLines(patch)) {
      if (line.startsWith("--- ") || line.startsWith("@@")) {
        hunks += replace(target, before, after) ? 1 : 0;
        inHunk = line.startsWith("@@");
      } else if (line.startsWith("+++ ") && !inHunk) {
        String name = line.substring(4).split("\t")[0];
        target = folder.resolve(name.startsWith("b/") ? name.substring(2) : name);
      } else if (inHunk && !line.startsWith("\\")) {
        char kind = line.isEmpty() ? ' ' : line.charAt(0);
        String text = line.isEmpty() ? "" : line.substring(1);
        if (kind != '+') {
          before.add(text);
        }
        if (kind != '-') {
          after.add(text);
        }
      }
    }
    hunks += replace(target, before, after) ? 1 : 0;
    if (hunks == 0) {
      throw new IOException(patch + " changes nothing");
    }
  }

  private static boolean replace(Path target, List<String> before, List<String> after)
      throws IOException {
    if (before.isEmpty() && after.isEmpty()) {
      return false;
    }
    List<String> lines = Files.readAllLines(target);
    int at = -1;
    for (int i = 0; i + before.size() <= lines.size(); i++) {
      if (lines.subList(i, i + before.size()).equals(before)) {
        if (at >= 0) {
          throw new IOException("a hunk fits " + target + " in two places: " + before);
        }
        at = i;
      }
    }
    if (at < 0) {
      throw new IOException("a hunk does not fit " + target + ": " + before);
    }
    List<String> changed = new ArrayList<>(lines.subList(0, at));
    changed.addAll(after);
    changed.addAll(lines.subList(at + before.size(), lines.size()));
    Files.write(target, changed);
    before.clear();
    after.clear();
    return true;
  }
}
