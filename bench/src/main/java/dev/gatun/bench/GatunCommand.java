package dev.gatun.bench;

import dev.gatun.models.Models;
import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** The command {@code gatun}: its sub-commands do the work. */
@Command(
    name = "gatun",
    description = "Trains, scores and samples deep generative models of images.",
    footer = {
      "",
      "Exit codes: 0; 2 for a usage or input error; 130 after Ctrl-C; 1 for anything else.",
      "GATUN_DEBUG=1 shows where an error came from, GATUN_CACHE moves the cache of natives."
    },
    mixinStandardHelpOptions = true,
    version = "gatun " + Models.VERSION)
final class GatunCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  private GatunCommand() {}

  static CommandLine commandLine(Console console) {
    CommandLine line = new CommandLine(new GatunCommand());
    line.addSubcommand(new DemoCommand(console));
    line.addSubcommand(new TrainCommand(console));
    line.addSubcommand(new SampleCommand(console));
    line.addSubcommand(new EvalCommand(console));
    line.addSubcommand(new DataCommand(console));
    line.addSubcommand(new DevicesCommand(console));
    line.addSubcommand(new SelftestCommand(console));
    line.addSubcommand(new BenchCommand(console));
    line.addSubcommand(new BundleCommand(console));
    line.getSubcommands()
        .values()
        .forEach(sub -> sub.getCommandSpec().mixinStandardHelpOptions(true));
    line.setOut(new PrintWriter(console.out(), true));
    line.setErr(new PrintWriter(console.err(), true));
    line.setParameterExceptionHandler((e, args) -> {
      String name = e.getCommandLine().getCommandSpec().qualifiedName();
      return Failures.report(
          new UsageException(e.getMessage() + "; see '" + name + " --help'", e), console);
    });
    line.setExecutionExceptionHandler((e, command, result) -> Failures.report(e, console));
    return line;
  }

  @Override
  public Integer call() {
    throw new UsageException(
        "no command given: expected one of "
            + String.join(", ", spec.subcommands().keySet())
            + "; see 'gatun --help'");
  }
}
