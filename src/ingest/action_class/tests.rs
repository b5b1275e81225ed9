//! The table is sound, and says what it should of operations that were seen.

use super::*;

#[test]
fn the_table_speaks_of_known_classes_only() {
    for (_, class, patterns) in TABLE {
        assert!(CLASSES.contains(class), "{class}");
        assert!(!patterns.is_empty(), "{class}");
    }
}

/// A name without a star that an earlier line catches would never be reached.
#[test]
fn no_operation_is_hidden_behind_an_earlier_line() {
    for (source, class, patterns) in TABLE {
        for operation in patterns.iter().filter(|pattern| !pattern.contains('*')) {
            assert_eq!(classify(*source, operation), *class, "{operation}");
        }
    }
}

#[test]
fn patterns() {
    for (pattern, text, expected) in [
        ("Delete*", "DeleteGuardrail", true),
        ("delete*", "Undelete", false),
        ("*/a/*/write", "x/A/b/c/WRITE", true),
        ("*/a/*/write", "x/a/write", false),
        ("*ab", "aab", true),
        ("*ab*ab", "abab", true),
        ("*ab*ab", "aab", false),
        ("", "", true),
        ("*", "", true),
        ("a", "", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn operations_of_every_source() {
    for (source, operation, class) in [
        (
            Aws,
            "DeleteModelInvocationLoggingConfiguration",
            "logging.disable",
        ),
        (
            Aws,
            "PutModelInvocationLoggingConfiguration",
            "logging.change",
        ),
        (
            Aws,
            "UpdateAutomatedReasoningPolicyAnnotations",
            "guardrail.update",
        ),
        (Aws, "ListFoundationModels", "model.list"),
        (Aws, "ListFoundationModelAgreementOffers", "model.list"),
        (Aws, "PutFoundationModelEntitlement", "model.access_request"),
        (Aws, "UpdateAgentActionGroup", "agent.change"),
        (Aws, "DeletePromptRouter", "endpoint.change"),
        (Aws, "AssociateAgentKnowledgeBase", "agent.change"),
        (Aws, "GetGuardrail", "other"),
        (
            Azure,
            "MICROSOFT.COGNITIVESERVICES/ACCOUNTS/RAIPOLICIES/WRITE",
            "guardrail.update",
        ),
        (
            Azure,
            "Microsoft.CognitiveServices/accounts/raiBlocklists/raiBlocklistItems/delete",
            "guardrail.delete",
        ),
        (
            Azure,
            "Microsoft.CognitiveServices/accounts/deployments/write",
            "model.deploy",
        ),
        (
            Azure,
            "Microsoft.CognitiveServices/accounts/write",
            "endpoint.change",
        ),
        (
            Azure,
            "Microsoft.CognitiveServices/accounts/listKeys/action",
            "key.read",
        ),
        (
            Azure,
            "Microsoft.CognitiveServices/accounts/regenerateKey/action",
            "key.rotate",
        ),
        (
            Azure,
            "Microsoft.CognitiveServices/accounts/connections/listsecrets/action",
            "key.read",
        ),
        (
            Azure,
            "Microsoft.CognitiveServices/accounts/AIServices/agents/write",
            "agent.change",
        ),
        (
            Azure,
            "MICROSOFT.INSIGHTS/DIAGNOSTICSETTINGS/DELETE",
            "logging.disable",
        ),
        (
            Azure,
            "Microsoft.Authorization/roleAssignments/write",
            "role.change",
        ),
        (Azure, "ListKey", "key.read"),
        (
            Gcp,
            "google.cloud.aiplatform.v1.EndpointService.UndeployModel",
            "endpoint.change",
        ),
        (
            Gcp,
            "google.cloud.aiplatform.v1beta1.EndpointService.SetPublisherModelConfig",
            "logging.change",
        ),
        (
            Gcp,
            "google.cloud.aiplatform.v1.ModelService.UploadModel",
            "model.import",
        ),
        (
            Gcp,
            "google.cloud.modelarmor.v1.ModelArmor.DeleteTemplate",
            "guardrail.delete",
        ),
        (
            Gcp,
            "google.logging.v2.ConfigServiceV2.DeleteSink",
            "logging.disable",
        ),
        (
            Gcp,
            "google.logging.v2.ConfigServiceV2.UpdateSink",
            "logging.change",
        ),
        (
            Gcp,
            "google.iam.admin.v1.CreateServiceAccountKey",
            "key.create",
        ),
        (
            Gcp,
            "google.cloud.aiplatform.v1.ReasoningEngineService.CreateReasoningEngine",
            "agent.change",
        ),
        (Gcp, "google.iam.v1.IAMPolicy.SetIamPolicy", "policy.change"),
        (LiteLlm, "LiteLLM_VerificationToken/created", "key.create"),
        (
            LiteLlm,
            "LiteLLM_VerificationToken/updated",
            "policy.change",
        ),
        (LiteLlm, "LiteLLM_TeamTable/updated", "role.change"),
        (LiteLlm, "LiteLLM_ProxyModelTable/deleted", "model.delete"),
        (OpenAi, "role.assignment.created", "role.change"),
        (OpenAi, "login.failed", "login"),
        (OpenAi, "api_key.created", "key.create"),
        (Anthropic, "api_key_created", "key.create"),
        (Anthropic, "sso_login_succeeded", "login"),
        (Anthropic, "claude_chat_viewed", "other"),
    ] {
        assert_eq!(classify(source, operation), class, "{operation}");
    }
    assert_eq!(switched_off("logging.change"), "logging.disable");
    assert_eq!(switched_off("guardrail.update"), "guardrail.update");
}
