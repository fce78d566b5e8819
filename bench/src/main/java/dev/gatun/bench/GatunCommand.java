package dev.gatun.bench;

import dev.gatun.models.Models;
import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Function;
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
  private static final Map<Class<?>, Function<Console, Object>> COMMANDS = new LinkedHashMap<>();

  static {
    COMMANDS.put(DemoCommand.class, DemoCommand::new);
    COMMANDS.put(TrainCommand.class, TrainCommand::new);
    COMMANDS.put(SampleCommand.class, SampleCommand::new);
    COMMANDS.put(CompleteCommand.class, CompleteCommand::new);
    COMMANDS.put(InpaintCommand.class, InpaintCommand::new);
    COMMANDS.put(UpscaleCommand.class, UpscaleCommand::new);
    COMMANDS.put(ColorizeCommand.class, ColorizeCommand::new);
    COMMANDS.put(InterpolateCommand.class, InterpolateCommand::new);
    COMMANDS.put(EvalCommand.class, EvalCommand::new);
    COMMANDS.put(EncodeCommand.class, EncodeCommand::new);
    COMMANDS.put(ProbeCommand.class, ProbeCommand::new);
    COMMANDS.put(PlotCommand.class, PlotCommand::new);
    COMMANDS.put(CurveCommand.class, CurveCommand::new);
    COMMANDS.put(DataCommand.class, DataCommand::new);
    COMMANDS.put(DevicesCommand.class, DevicesCommand::new);
    COMMANDS.put(SelftestCommand.class, SelftestCommand::new);
    COMMANDS.put(BenchCommand.class, BenchCommand::new);
    COMMANDS.put(BundleCommand.class, BundleCommand::new);
  }

  @Spec private CommandSpec spec;

  private GatunCommand() {}

  /** The command line that these arguments need: of all other commands it knows name and use. */
  static CommandLine commandLine(Console console, String... args) {
    CommandLine line = new CommandLine(new GatunCommand());
    COMMANDS.forEach((type, command) -> {
      Command annotation = type.getAnnotation(Command.class);
      if (args.length > 0 && args[0].equals(annotation.name())) {
        CommandLine sub = new CommandLine(command.apply(console));
        sub.getCommandSpec().mixinStandardHelpOptions(true);
        line.addSubcommand(sub);
      } else {
        // reading a command's options takes longer than all else that --help does
        CommandSpec named = CommandSpec.create().name(annotation.name());
        named.usageMessage().description(annotation.description());
        line.addSubcommand(annotation.name(), named);
      }
    });
    line.setOut(new PrintWriter(console.out(), true));
    line.setErr(new PrintWriter(console.err(), true));
    line.setParameterExceptionHandler((e, arguments) -> {
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
