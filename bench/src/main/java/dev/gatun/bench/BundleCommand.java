package dev.gatun.bench;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

@Command(name = "bundle")
final class BundleCommand implements Callable<Integer> {
  BundleCommand(Console console) {}

  @Override
  public Integer call() {
    return 0;
  }
}
