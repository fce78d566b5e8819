package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class OwnedTest {
  private final List<String> closed = new ArrayList<>();
  private final Owned owned = new Owned();

  private AutoCloseable resource(String name, Exception failure) {
    return () -> {
      closed.add(name);
      if (failure != null) {
        throw failure;
      }
    };
  }

  @Test
  void closesTheLastFirstAndOnce() {
    AutoCloseable first = resource("first", null);
    assertSame(first, owned.add(first));
    owned.add(resource("second", null));
    owned.close();
    owned.close();
    assertEquals(List.of("second", "first"), closed);
  }

  @Test
  void aFailureLeavesNothingOpenAndHidesNoOther() {
    owned.add(resource("first", new IllegalArgumentException("first")));
    owned.add(resource("second", null));
    owned.add(resource("third", new IllegalStateException("third")));
    Exception failure = assertThrows(IllegalStateException.class, owned::close);
    assertEquals("third", failure.getMessage());
    assertEquals("first", failure.getSuppressed()[0].getMessage());
    assertEquals(List.of("third", "second", "first"), closed);
  }

  @Test
  void aCheckedFailureIsTheCause() {
    IOException failure = new IOException();
    owned.add(resource("first", failure));
    assertSame(failure, assertThrows(IllegalStateException.class, owned::close).getCause());
  }
}
