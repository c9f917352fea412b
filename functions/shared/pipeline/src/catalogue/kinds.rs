//! The closed sets that documents, rows and the deployed stack have in common: what a step does, who does it, and what
//! comes out of it.

use serde::{Deserialize, Serialize};

/// What a step does. The deployed functions are one a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepType {
    /// Text in, pictures out.
    TextToImage,
    /// A picture and mostly text in, pictures out.
    ImageToImage,
    /// A picture and text in, a video out.
    ImageToVideo,
    /// Pictures in, text out.
    AnalyzeImage,
}

impl StepType {
    /// Every type that this version carries out.
    pub const ALL: &'static [StepType] =
        &[StepType::TextToImage, StepType::ImageToImage, StepType::ImageToVideo, StepType::AnalyzeImage];

    /// As written in a document.
    pub const fn as_str(self) -> &'static str {
        match self {
            StepType::TextToImage => "text_to_image",
            StepType::ImageToImage => "image_to_image",
            StepType::ImageToVideo => "image_to_video",
            StepType::AnalyzeImage => "analyze_image",
        }
    }

    /// Other names for it. The one of the analysis is in documents written for the suite whose language this is.
    pub const fn aliases(self) -> &'static [&'static str] {
        match self {
            StepType::AnalyzeImage => &["image_understanding"],
            _ => &[],
        }
    }

    /// The type that is written so.
    pub fn parse(text: &str) -> Option<StepType> {
        Self::ALL.iter().copied().find(|step| step.as_str() == text || step.aliases().contains(&text))
    }
}

/// Who generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderName {
    /// fal.ai: a queue, with webhooks.
    Fal,
    /// Google's Gemini API: it answers at once.
    Gemini,
}

impl ProviderName {
    /// Every provider that this version speaks to.
    pub const ALL: &'static [ProviderName] = &[ProviderName::Fal, ProviderName::Gemini];

    /// As written in rows, URLs and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProviderName::Fal => "fal",
            ProviderName::Gemini => "gemini",
        }
    }

    /// The name of its key among the stack's secrets.
    pub const fn key_name(self) -> &'static str {
        match self {
            ProviderName::Fal => "fal-key",
            ProviderName::Gemini => "gemini-key",
        }
    }

    /// Whether the reply to a submission is the result. Such a provider has no jobs that could be asked after.
    pub const fn answers_at_once(self) -> bool {
        match self {
            ProviderName::Fal => false,
            ProviderName::Gemini => true,
        }
    }

    /// The provider that is written so.
    pub fn parse(text: &str) -> Option<ProviderName> {
        Self::ALL.iter().copied().find(|provider| provider.as_str() == text)
    }
}

/// The kind of a media object; also its folder under `outputs/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// PNG, JPEG or WebP.
    Image,
    /// MP4.
    Video,
    /// UTF-8 text.
    Text,
}

impl MediaKind {
    /// As written in keys and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            MediaKind::Image => "image",
            MediaKind::Video => "video",
            MediaKind::Text => "text",
        }
    }

    /// With its article, for sentences.
    pub const fn noun(self) -> &'static str {
        match self {
            MediaKind::Image => "an image",
            MediaKind::Video => "a video",
            MediaKind::Text => "a text",
        }
    }

    /// The largest object of the kind that is accepted from a provider, in bytes.
    pub const fn max_bytes(self) -> u64 {
        match self {
            MediaKind::Image => 64 * 1024 * 1024,
            MediaKind::Video => 1024 * 1024 * 1024,
            MediaKind::Text => 256 * 1024,
        }
    }

    /// The largest object of the kind that is accepted from a user as an input, in bytes. Below what providers accept:
    /// an image goes to Gemini within a request of at most 20 MB, as base64.
    pub const fn max_input_bytes(self) -> u64 {
        match self {
            MediaKind::Image => 14 * 1024 * 1024,
            MediaKind::Video => 200 * 1024 * 1024,
            MediaKind::Text => 64 * 1024,
        }
    }
}
