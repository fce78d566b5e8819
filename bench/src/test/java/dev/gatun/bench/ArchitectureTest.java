package dev.gatun.bench;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Dependencies point one way: bench, models, engine, then kernels and native, which stand apart.
 */
class ArchitectureTest {
  private static final String FFI = "dev.gatun.ffi..";
  private static final String KERNELS = "dev.gatun.kernels..";
  private static final String ENGINE = "dev.gatun.engine..";
  private static final String CPU = "dev.gatun.engine.cpu..";
  private static final String CUDA = "dev.gatun.engine.cuda..";
  private static final String MODELS = "dev.gatun.models..";
  private static final String BENCH = "dev.gatun.bench..";

  private static JavaClasses all;

  @BeforeAll
  static void read() {
    all =
        new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
            .importPackages("dev.gatun");
    // a rule over nothing holds: each module must have been found
    for (String module : new String[] {"ffi", "kernels", "engine", "models", "bench"}) {
      assertFalse(
          all.that(JavaClass.Predicates.resideInAPackage("dev.gatun." + module + "..")).isEmpty(),
          "no classes of " + module);
    }
  }

  @Test
  void modulesDependDownwardsOnly() {
    layeredArchitecture()
        .consideringOnlyDependenciesInAnyPackage("dev.gatun..")
        .layer("bench")
        .definedBy(BENCH)
        .layer("models")
        .definedBy(MODELS)
        .layer("engine")
        .definedBy(ENGINE)
        .layer("kernels")
        .definedBy(KERNELS)
        .layer("native")
        .definedBy(FFI)
        .whereLayer("bench")
        .mayNotBeAccessedByAnyLayer()
        .whereLayer("models")
        .mayOnlyBeAccessedByLayers("bench")
        .whereLayer("engine")
        .mayOnlyBeAccessedByLayers("models", "bench")
        .whereLayer("kernels")
        .mayOnlyBeAccessedByLayers("engine")
        .whereLayer("native")
        .mayOnlyBeAccessedByLayers("engine", "bench")
        .check(all);
  }

  @Test
  void kernelsAndNativeDoNotKnowEachOther() {
    noClasses()
        .that()
        .resideInAPackage(KERNELS)
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(FFI, ENGINE, "jcuda..")
        .check(all);
    noClasses()
        .that()
        .resideInAPackage(FFI)
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(KERNELS, ENGINE)
        .check(all);
  }

  @Test
  void modelsNameNoBackend() {
    noClasses()
        .that()
        .resideInAPackage(MODELS)
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(CPU, CUDA, FFI, KERNELS, "jcuda..")
        .check(all);
  }

  @Test
  void oneDnnIsTheCpuBackendsAlone() {
    noClasses()
        .that()
        .resideInAPackage(ENGINE)
        .and()
        .resideOutsideOfPackage(CPU)
        .should()
        .dependOnClassesThat(
            DescribedPredicate.describe(
                "belong to oneDNN",
                (JavaClass c) ->
                    c.getPackageName().startsWith("dev.gatun.ffi.onednn")
                        || c.getFullName().startsWith("dev.gatun.ffi.Dnnl")))
        .check(all);
  }

  @Test
  void theCudaDriverIsTheCudaBackendsAlone() {
    noClasses()
        .that()
        .resideInAPackage(ENGINE)
        .and()
        .resideOutsideOfPackage(CUDA)
        .should()
        .dependOnClassesThat(
            DescribedPredicate.describe(
                "belong to CUDA",
                (JavaClass c) ->
                    c.getPackageName().startsWith("jcuda")
                        || c.getPackageName().startsWith("dev.gatun.ffi.cuda")
                        || c.getPackageName().startsWith("dev.gatun.ffi.nvrtc")
                        || c.getPackageName().startsWith("dev.gatun.ffi.cublaslt")
                        || c.getFullName().startsWith("dev.gatun.ffi.Cuda")
                        || c.getFullName().startsWith("dev.gatun.ffi.Nvrtc")
                        || c.getFullName().startsWith("dev.gatun.ffi.CublasLt")
                        || c.getPackageName().startsWith("dev.gatun.kernels")))
        .check(all);
  }

  @Test
  void backendsAreFoundAndNeverNamed() {
    noClasses()
        .that()
        .resideOutsideOfPackages(CPU, CUDA, BENCH)
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(CPU, CUDA)
        .check(all);
    noClasses()
        .that()
        .resideInAPackage(CPU)
        .should()
        .dependOnClassesThat()
        .resideInAPackage(CUDA)
        .check(all);
    noClasses()
        .that()
        .resideInAPackage(CUDA)
        .should()
        .dependOnClassesThat()
        .resideInAPackage(CPU)
        .check(all);
  }

  @Test
  void opsKnowShapesAndOtherOps() {
    noClasses()
        .that()
        .resideInAPackage("dev.gatun.engine.op..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            CPU, CUDA, FFI, KERNELS, "dev.gatun.engine.contract..", "dev.gatun.engine.train..")
        .check(all);
    classes()
        .that()
        .implement(dev.gatun.engine.Op.class)
        .and()
        .areNotInterfaces()
        .should()
        .resideInAPackage("dev.gatun.engine.op")
        .andShould()
        .beRecords()
        .check(all);
  }

  /** The oracle shares no code with what it judges. */
  @Test
  void theReferenceUsesNoBackendAndNoBackendUsesIt() {
    noClasses()
        .that()
        .resideInAPackage("dev.gatun.engine.contract..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(CPU, CUDA, FFI, KERNELS)
        .check(all);
    noClasses()
        .that()
        .resideInAnyPackage(CPU, CUDA, "dev.gatun.engine", "dev.gatun.engine.op..", MODELS)
        .should()
        .dependOnClassesThat()
        .resideInAPackage("dev.gatun.engine.contract..")
        .check(all);
  }

  @Test
  void modulesAndModelPackagesAreFreeOfCycles() {
    slices().matching("dev.gatun.(*)..").should().beFreeOfCycles().check(all);
    slices().matching("dev.gatun.models.(*)..").should().beFreeOfCycles().check(all);
  }

  @Test
  void nothingShippedDependsOnATestLibrary() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("org.junit..", "com.tngtech.archunit..", "com.code_intelligence..")
        .check(all);
  }
}
