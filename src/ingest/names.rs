//! Vendor names of models, operations and providers, cleaned into the words that the schema uses.
//!
//! Left out: what a model is good for or costs, and names of resources that are no model (see `arn`).

/// Geographies that Bedrock's inference profiles put before a model's id.
const GEOGRAPHIES: [&str; 7] = ["us", "eu", "apac", "global", "jp", "au", "us-gov"];

/// The model's name and its family, from an id, an ARN or a resource path.
///
/// The name is the last part of the path; the family is the name without a geography in front and a version behind:
/// `arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0` gives
/// `eu.anthropic.claude-sonnet-4-5-20250929-v1:0` and `anthropic.claude-sonnet-4-5-20250929`. A release date is part
/// of what a model is and stays.
pub(crate) fn clean_model(raw: &str) -> (&str, &str) {
    let raw = raw.trim().trim_end_matches('/');
    let model = match raw.rsplit_once('/') {
        Some((_, last)) => last,
        None if raw.starts_with("arn:") => raw.rsplit(':').next().unwrap_or(raw),
        None => raw,
    };
    (model, without_version(without_geography(model)))
}

fn without_geography(model: &str) -> &str {
    match model.split_once('.') {
        // `eu.anthropic.claude`, but not a model whose vendor happens to be called `us`.
        Some((geography, rest)) if rest.contains('.') && GEOGRAPHIES.contains(&geography) => rest,
        _ => model,
    }
}

/// Cuts `-v1:0`, `-v1`, `-1:0`, `-v1:0:200k` and `@20250929`.
fn without_version(model: &str) -> &str {
    let model = match model.split_once('@') {
        Some((family, _)) if !family.is_empty() => family,
        _ => model,
    };
    let (stem, qualified) = match model.split_once(':') {
        Some((stem, _)) => (stem, true),
        None => (model, false),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match stem.rsplit_once('-') {
        Some((family, version)) if !family.is_empty() => match version.strip_prefix('v') {
            Some(number) if is_number(number) => family,
            // `gpt-oss-120b-1:0`; without the colon a bare number is part of the name, as in `gpt-4`, and after a
            // version it is that version's second half, as in `rerank-v3-5:0`.
            None if qualified && is_number(version) => {
                let whole = family
                    .rsplit_once("-v")
                    .is_some_and(|(_, major)| is_number(major));
                if whole { stem } else { family }
            }
            _ => model,
        },
        _ => model,
    }
}

/// The operation in OpenTelemetry's words: `chat`, `text_completion`, `generate_content`, `embeddings`,
/// `count_tokens`, `execute_tool`, `invoke_agent`, else `other`.
///
/// Takes API operations (`ConverseStream`, `ChatCompletions_Create`), full method names
/// (`google.cloud.aiplatform.v1.PredictionService.GenerateContent`), a gateway's call types (`acompletion`) and paths
/// (`/v1/chat/completions`).
pub(crate) fn operation(raw: &str) -> &'static str {
    let path = raw.split(['?', '#']).next().unwrap_or(raw);
    let mut steps = path.rsplit(['/', '.', ':']).filter(|step| !step.is_empty());
    let last = fold(steps.next().unwrap_or_default());
    let before = fold(steps.next().unwrap_or_default());
    match (before.as_str(), last.as_str()) {
        ("chat", "completions" | "completion" | "create")
        | (
            _,
            "chat"
            | "converse"
            | "conversestream"
            | "chatcompletionscreate"
            | "chatcompletions"
            | "chatcompletion"
            | "extensionschatcompletionscreate"
            | "completion"
            | "acompletion"
            | "responses"
            | "aresponses"
            | "responsescreate"
            | "createresponse"
            | "messages"
            | "anthropicmessages"
            | "messagescreate"
            | "rawpredict"
            | "streamrawpredict"
            | "createinference"
            | "retrieveandgenerate"
            | "retrieveandgeneratestream",
        ) => "chat",
        (
            _,
            "completions" | "completionscreate" | "textcompletion" | "atextcompletion" | "generate",
        ) => "text_completion",
        (
            _,
            "embeddings"
            | "embedding"
            | "aembedding"
            | "embeddingscreate"
            | "embed"
            | "embedcontent"
            | "batchembedcontents"
            | "asyncbatchembedcontent",
        ) => "embeddings",
        (
            _,
            "generatecontent"
            | "streamgeneratecontent"
            | "ageneratecontent"
            | "generatecontentstream"
            | "ageneratecontentstream"
            | "bidigeneratecontent"
            | "imagegeneration"
            | "aimagegeneration"
            | "imageedit"
            | "aimageedit"
            | "imagegenerationscreate"
            | "imagesgenerations"
            | "startasyncinvoke"
            | "predictlongrunning",
        )
        | ("images", "generations" | "edits") => "generate_content",
        (_, "counttokens" | "acounttokens" | "computetokens") => "count_tokens",
        (_, "executetool" | "callmcptool" | "invokegateway" | "invokecodeinterpreter") => {
            "execute_tool"
        }
        (
            _,
            "invokeagent"
            | "invokeinlineagent"
            | "invokeflow"
            | "invokeagentruntime"
            | "queryreasoningengine"
            | "streamqueryreasoningengine",
        ) => "invoke_agent",
        _ => "other",
    }
}

/// The operation behind Bedrock's `InvokeModel` and its streaming kin, which serve every kind of model: the model
/// decides.
pub(crate) fn bedrock_operation(raw: &str, model: Option<&str>) -> &'static str {
    if !raw
        .get(..11)
        .is_some_and(|start| start.eq_ignore_ascii_case("InvokeModel"))
    {
        return operation(raw);
    }
    let model = model.unwrap_or_default().to_ascii_lowercase();
    let is_any = |words: &[&str]| words.iter().any(|word| model.contains(word));
    if is_any(&["embed", "marengo"]) {
        "embeddings"
    } else if is_any(&["rerank"]) {
        "other"
    } else if is_any(&[
        "titan-image",
        "nova-canvas",
        "nova-reel",
        "stability.",
        "stable-",
    ]) {
        "generate_content"
    } else {
        "chat"
    }
}

/// Lower case without separators.
fn fold(name: &str) -> String {
    name.bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect()
}

/// The provider in OpenTelemetry's words, from a vendor's or gateway's name for it; a name that is not known stays as
/// it is.
pub(crate) fn provider(raw: &str) -> &str {
    match fold(raw).as_str() {
        "awsbedrock" | "bedrock" | "amazonbedrock" | "bedrockconverse" | "bedrockruntime"
        | "bedrockmantle" | "amazon" => "aws.bedrock",
        "azureaiopenai" | "azaiopenai" | "azureopenai" | "azure" | "azuretext" | "azopenai" => {
            "azure.ai.openai"
        }
        "azureaiinference" | "azaiinference" | "azureai" | "azureaifoundry" => "azure.ai.inference",
        "gcpvertexai" | "vertexai" | "vertex" | "vertexaibeta" | "googlevertex"
        | "googlevertexai" | "gcpvertex" => "gcp.vertex_ai",
        "gcpgemini" | "gemini" | "googleaistudio" | "googlegemini" => "gcp.gemini",
        "gcpgenai" | "google" | "googlegenai" => "gcp.gen_ai",
        "openai" | "openaichat" | "textcompletionopenai" => "openai",
        "anthropic" | "claude" => "anthropic",
        "mistralai" | "mistral" => "mistral_ai",
        "cohere" | "coherechat" => "cohere",
        "groq" => "groq",
        "deepseek" => "deepseek",
        "perplexity" => "perplexity",
        "xai" => "x_ai",
        "ibmwatsonxai" | "watsonx" | "watsonxai" | "ibm" => "ibm.watsonx.ai",
        "moonshotai" | "moonshot" => "moonshot_ai",
        _ => raw,
    }
}

/// Whether a name is a provider's in OpenTelemetry's words.
pub(crate) fn is_provider(name: &str) -> bool {
    const PROVIDERS: [&str; 16] = [
        "anthropic",
        "aws.bedrock",
        "azure.ai.inference",
        "azure.ai.openai",
        "cohere",
        "deepseek",
        "gcp.gemini",
        "gcp.gen_ai",
        "gcp.vertex_ai",
        "groq",
        "ibm.watsonx.ai",
        "mistral_ai",
        "moonshot_ai",
        "openai",
        "perplexity",
        "x_ai",
    ];
    PROVIDERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_lose_path_geography_and_version() {
        for (raw, model, family) in [
            (
                "anthropic.claude-3-haiku-20240307-v1:0",
                "anthropic.claude-3-haiku-20240307-v1:0",
                "anthropic.claude-3-haiku-20240307",
            ),
            (
                "arn:aws:bedrock:eu-central-1:210987654321:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "anthropic.claude-sonnet-4-5-20250929",
            ),
            (
                "us-gov.anthropic.claude-3-5-sonnet-20240620-v1:0",
                "us-gov.anthropic.claude-3-5-sonnet-20240620-v1:0",
                "anthropic.claude-3-5-sonnet-20240620",
            ),
            (
                "amazon.nova-pro-v1:0:300k",
                "amazon.nova-pro-v1:0:300k",
                "amazon.nova-pro",
            ),
            (
                "amazon.titan-text-express-v1",
                "amazon.titan-text-express-v1",
                "amazon.titan-text-express",
            ),
            (
                "openai.gpt-oss-120b-1:0",
                "openai.gpt-oss-120b-1:0",
                "openai.gpt-oss-120b",
            ),
            (
                "arn:aws:bedrock:us-east-1:1:application-inference-profile/ab12cd34ef56",
                "ab12cd34ef56",
                "ab12cd34ef56",
            ),
            (
                "projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4-5@20250929",
                "claude-sonnet-4-5@20250929",
                "claude-sonnet-4-5",
            ),
            (
                "cohere.rerank-v3-5:0",
                "cohere.rerank-v3-5:0",
                "cohere.rerank-v3-5",
            ),
            ("gpt-4", "gpt-4", "gpt-4"),
            (
                "gpt-4o-mini-2024-07-18",
                "gpt-4o-mini-2024-07-18",
                "gpt-4o-mini-2024-07-18",
            ),
            ("us.model", "us.model", "us.model"),
            ("deepseek.v3-v1:0", "deepseek.v3-v1:0", "deepseek.v3"),
            ("", "", ""),
            ("v1", "v1", "v1"),
            ("-v1", "-v1", "-v1"),
        ] {
            assert_eq!(clean_model(raw), (model, family), "{raw}");
        }
    }

    #[test]
    fn operations_of_every_vendor_become_one_word() {
        for (raw, expected) in [
            ("Converse", "chat"),
            ("ConverseStream", "chat"),
            ("ChatCompletions_Create", "chat"),
            ("Completions_Create", "text_completion"),
            ("Embeddings_Create", "embeddings"),
            ("responses", "chat"),
            ("acompletion", "chat"),
            ("aembedding", "embeddings"),
            ("call_mcp_tool", "execute_tool"),
            ("/v1/chat/completions", "chat"),
            ("/v1/completions?x=/chat", "text_completion"),
            (
                "/openai/deployments/gpt4o/chat/completions?api-version=2025-01-01",
                "chat",
            ),
            (
                "google.cloud.aiplatform.v1beta1.PredictionService.StreamGenerateContent",
                "generate_content",
            ),
            (
                "/v1beta/models/gemini-2.5-pro:generateContent",
                "generate_content",
            ),
            (
                "google.cloud.aiplatform.internal.PredictionService.CountTokens",
                "count_tokens",
            ),
            ("text_completion", "text_completion"),
            ("invoke_agent", "invoke_agent"),
            ("Create_Thread", "other"),
            ("", "other"),
        ] {
            assert_eq!(operation(raw), expected, "{raw}");
        }
    }

    #[test]
    fn invoke_model_is_what_the_model_does() {
        for (model, expected) in [
            ("anthropic.claude-3-haiku-20240307-v1:0", "chat"),
            ("amazon.titan-embed-text-v2:0", "embeddings"),
            ("cohere.embed-english-v3", "embeddings"),
            ("amazon.nova-canvas-v1:0", "generate_content"),
        ] {
            assert_eq!(
                bedrock_operation("InvokeModelWithResponseStream", Some(model)),
                expected
            );
        }
        assert_eq!(bedrock_operation("Converse", None), "chat");
        assert_eq!(bedrock_operation("InvokeAgent", None), "invoke_agent");
    }

    #[test]
    fn providers_have_one_spelling() {
        for (raw, expected) in [
            ("bedrock", "aws.bedrock"),
            ("vertex_ai", "gcp.vertex_ai"),
            ("azure", "azure.ai.openai"),
            ("xai", "x_ai"),
            ("AWS.Bedrock", "aws.bedrock"),
            ("some-proxy", "some-proxy"),
        ] {
            assert_eq!(provider(raw), expected);
        }
    }
}
