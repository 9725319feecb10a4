/** The Camel CLI as a program: camel-jbang-core has all of it but this. */
public final class Cli {
    public static void main(String[] args) {
        org.apache.camel.dsl.jbang.core.commands.CamelJBangMain.run(args);
    }
}
