package io.llmchat.step;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Instant;
import org.junit.jupiter.api.Test;

class UsageRecordTest {

    private final UsageRecord records = new UsageRecord(new Prices());

    @Test
    void timesAreWrittenToTheMicrosecondWhateverSecondTheLastOneWasOf() {
        assertEquals("2026-01-31T12:00:00.000012Z", written("2026-01-31T12:00:00.000012345Z"));
        assertEquals("2026-01-31T12:00:00.999999Z", written("2026-01-31T12:00:00.999999999Z"));
        assertEquals("2026-01-31T12:00:01.000000Z", written("2026-01-31T12:00:01Z"));
        assertEquals("2026-01-31T12:00:00.100000Z", written("2026-01-31T12:00:00.1Z"));
    }

    private String written(String time) {
        StringBuilder row = new StringBuilder();
        records.time(row, Instant.parse(time));
        return row.toString();
    }
}
