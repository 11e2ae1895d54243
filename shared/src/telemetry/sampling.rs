//! Which traces are recorded: OpenTelemetry's own settings and words.

use opentelemetry_sdk::trace::Sampler as SdkSampler;

use crate::config::{Setting, Settings};

/// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    sampler: Sampler,
    ratio: Ratio,
}

impl Default for Sampling {
    /// All, but what the caller does not record.
    fn default() -> Self {
        Self { sampler: Sampler { follows_the_caller: true, choice: Choice::All }, ratio: Ratio(1.0) }
    }
}

impl Sampling {
    pub(super) fn read(settings: &mut Settings) -> Self {
        Self {
            sampler: settings.or(
                "OTEL_TRACES_SAMPLER",
                "parentbased_always_on",
                "which traces are recorded: always_on, always_off, traceidratio, or parentbased_… to follow the caller",
            ),
            ratio: settings.or("OTEL_TRACES_SAMPLER_ARG", "1.0", "the share of traces that traceidratio takes: 0 to 1"),
        }
    }

    pub(super) fn sampler(self) -> SdkSampler {
        let own = match self.sampler.choice {
            Choice::All => SdkSampler::AlwaysOn,
            Choice::None => SdkSampler::AlwaysOff,
            Choice::Ratio => SdkSampler::TraceIdRatioBased(self.ratio.0),
        };
        if self.sampler.follows_the_caller { SdkSampler::ParentBased(Box::new(own)) } else { own }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sampler {
    follows_the_caller: bool,
    choice: Choice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    All,
    None,
    Ratio,
}

impl Setting for Sampler {
    fn parse(text: &str) -> Result<Self, String> {
        let own = text.strip_prefix("parentbased_");
        let choice = match own.unwrap_or(text) {
            "always_on" => Choice::All,
            "always_off" => Choice::None,
            "traceidratio" => Choice::Ratio,
            _ => {
                let expected = "always_on, always_off or traceidratio, each also after parentbased_";
                return Err(format!("expected {expected}, found {text:?}"));
            }
        };
        Ok(Self { follows_the_caller: own.is_some(), choice })
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Ratio(f64);

impl Setting for Ratio {
    fn parse(text: &str) -> Result<Self, String> {
        let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.map(Self).ok_or_else(|| format!("expected a number from 0 to 1, found {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sampler: &str, ratio: &str) -> Result<String, String> {
        let pairs = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
        let mut settings = Settings::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let sampling = Sampling::read(&mut settings);
        settings.finish().map(|()| format!("{:?}", sampling.sampler())).map_err(|error| error.to_string())
    }

    #[test]
    fn the_words_are_opentelemetrys() {
        for (sampler, ratio, read_as) in [
            ("", "", "ParentBased(AlwaysOn)"),
            ("always_on", "", "AlwaysOn"),
            ("parentbased_always_off", "", "ParentBased(AlwaysOff)"),
            ("traceidratio", "0.25", "TraceIdRatioBased(0.25)"),
            ("parentbased_traceidratio", "0", "ParentBased(TraceIdRatioBased(0.0))"),
        ] {
            assert_eq!(read(sampler, ratio).as_deref(), Ok(read_as), "{sampler}");
        }
        assert_eq!(format!("{:?}", Sampling::default().sampler()), "ParentBased(AlwaysOn)");
    }

    #[test]
    fn a_word_or_share_that_means_nothing_is_a_mistake() {
        for (sampler, ratio) in [("sometimes", "1"), ("traceidratio", "2"), ("traceidratio", "NaN"), ("xray", "-1")] {
            assert!(read(sampler, ratio).is_err_and(|error| error.contains("OTEL_TRACES_SAMPLER")), "{sampler}");
        }
    }
}
