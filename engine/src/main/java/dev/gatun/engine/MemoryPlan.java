package dev.gatun.engine;

import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

/** Offsets inside one arena for values whose lifetimes are known: best fit over a free list. */
final class MemoryPlan {
  private static final long ALIGNMENT = 256;

  private final TreeMap<Long, Long> free = new TreeMap<>(); // offset -> size
  private final Map<Long, Long> used = new HashMap<>();
  private long end;

  long allocate(long sizeBytes) {
    long size = Math.max(ALIGNMENT, (sizeBytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    long best = -1;
    for (Map.Entry<Long, Long> hole : free.entrySet()) {
      if (hole.getValue() >= size && (best < 0 || hole.getValue() < free.get(best))) {
        best = hole.getKey();
      }
    }
    if (best < 0) {
      // a hole at the very end may grow
      Map.Entry<Long, Long> last = free.lastEntry();
      if (last != null && last.getKey() + last.getValue() == end) {
        best = last.getKey();
        free.remove(best);
      } else {
        best = end;
      }
      end = best + size;
    } else {
      long hole = free.remove(best);
      if (hole > size) {
        free.put(best + size, hole - size);
      }
    }
    used.put(best, size);
    return best;
  }

  void free(long offset) {
    long size = used.remove(offset);
    Map.Entry<Long, Long> before = free.lowerEntry(offset);
    if (before != null && before.getKey() + before.getValue() == offset) {
      free.remove(before.getKey());
      offset = before.getKey();
      size += before.getValue();
    }
    Long after = free.remove(offset + size);
    free.put(offset, after == null ? size : size + after);
  }

  long totalBytes() {
    return end;
  }
}
