package io.llmchat.support;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import org.flywaydb.core.Flyway;

/** A schema of its own in the PostgreSQL of a gateway: empty at first, and gone at the end. Has one connection. */
public final class TestDatabase implements AutoCloseable {

    private final String url;
    private final String schema;
    private final Connection connection;

    public TestDatabase(TestGateway gateway, String schema) throws SQLException {
        this.schema = schema;
        url = "jdbc:postgresql://127.0.0.1:" + gateway.postgresPort() + "/postgres?currentSchema=" + schema;
        connection = DriverManager.getConnection(url, "postgres", "");
        // an earlier run may have been killed
        execute("DROP SCHEMA IF EXISTS " + schema + " CASCADE");
        execute("CREATE SCHEMA " + schema);
    }

    /** Brings the schema to this version of the migrations, or, for null, to the last one. */
    public void migrate(String version) {
        Flyway.configure().dataSource(url, "postgres", "").schemas(schema).target(version == null ? "latest" : version).load().migrate();
    }

    public Connection connection() {
        return connection;
    }

    public void execute(String sql) throws SQLException {
        try (Statement s = connection.createStatement()) {
            s.execute(sql);
        }
    }

    /** The first column of the first row. */
    public String value(String sql) throws SQLException {
        try (Statement s = connection.createStatement(); ResultSet row = s.executeQuery(sql)) {
            return row.next() ? row.getString(1) : null;
        }
    }

    @Override
    public void close() throws SQLException {
        execute("DROP SCHEMA " + schema + " CASCADE");
        connection.close();
    }
}
