package io.llmchat.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ClaudeTest {

    @ParameterizedTest
    @CsvSource({"claude-opus-4-7,407", "claude-opus-4-8,408", "claude-opus-5,500", "claude-fable-5-1,501", "claude-sonnet-5-20260630,500",
        "claude-sonnet-4-5-20250929,405", "claude-sonnet-4-20250514,400", "claude-opus-4-1-20250805,401", "claude-3-7-sonnet-20250219,307",
        "claude-3-opus-20240229,300", "claude-3-5-haiku-latest,305", "claude-2.1,201", "anthropic.claude-opus-4-7,407",
        "us.anthropic.claude-opus-4-6-v1:0,406", "anthropic/claude-4.7-opus,407", "anthropic/claude-opus-4.7,407", "claude-opus-4@20250514,400",
        "claude-mythos-preview,0", "glm-4.6,0", "m,0"})
    void theVersionIsReadFromTheName(String model, int version) {
        assertEquals(version, Claude.named(model).version());
    }

    @ParameterizedTest
    @CsvSource(nullValues = "-", value = {"low,low,low,low,-", "minimal,low,low,low,-", "medium,medium,medium,medium,-", "high,high,high,high,-",
        "xhigh,xhigh,xhigh,high,-", "max,max,max,max,-", "none,low,-,-,-", "extreme,-,-,-,-"})
    void effortIsSaidInTheWordsThatTheVersionKnows(String effort, String opus5, String opus47, String opus46, String opus45) {
        assertEquals(opus5, Claude.named("claude-opus-5").effort(effort));
        assertEquals(opus47, Claude.named("claude-opus-4-7").effort(effort));
        assertEquals(opus46, Claude.named("claude-opus-4-6").effort(effort));
        assertEquals(opus45, Claude.named("claude-opus-4-5").effort(effort));
    }

    @ParameterizedTest
    @CsvSource({"claude-sonnet-4-5-20250929,true", "claude-haiku-4-5,true", "claude-opus-4-5,true", "claude-opus-4-6,false",
        "us.anthropic.claude-sonnet-4-6-v1:0,false", "claude-opus-4-8,false", "claude-sonnet-5,false", "glm-4.6,true"})
    void fromTheSixthOfTheFourthOnNoneGoesOnFromAMessageOfItsOwn(String model, boolean goesOn) {
        assertEquals(goesOn, Claude.named(model).goesOn());
    }
}
