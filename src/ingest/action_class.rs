//! What a management operation does, in one closed list of classes, so that one rule covers every cloud.
//!
//! The table is the whole of it: for each source the classes, and for each class the operations as that source writes
//! them, with `*` for any run of characters and case ignored. The first line that matches wins; what no line matches is
//! `other`. An operation has one class; where its parameters decide whether a log was switched off, the decoder says
//! so with [`switched_off`].
//!
//! Left out: whether the operation succeeded, and calls of models, which are no management.

/// Who names the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// CloudTrail's `eventName`.
    Aws,
    /// Azure's `operationName`, of the activity log (`Microsoft.CognitiveServices/accounts/write`) and of resource logs
    /// (`ListKey`).
    Azure,
    /// Google's `protoPayload.methodName`.
    Gcp,
    /// LiteLLM's `table_name`, a slash and `action`, as `LiteLLM_VerificationToken/rotated`.
    LiteLlm,
    /// `type` of OpenAI's audit log.
    OpenAi,
    /// `type` of Anthropic's activity log.
    Anthropic,
}

use Source::{Anthropic, Aws, Azure, Gcp, LiteLlm, OpenAi};

/// Every class there is.
#[cfg(test)]
const CLASSES: [&str; 24] = [
    "logging.disable",
    "logging.change",
    "guardrail.create",
    "guardrail.update",
    "guardrail.delete",
    "model.access_request",
    "model.deploy",
    "model.delete",
    "model.import",
    "model.list",
    "endpoint.change",
    "capacity.change",
    "agent.change",
    "knowledge_base.change",
    "key.create",
    "key.read",
    "key.rotate",
    "key.delete",
    "policy.change",
    "role.change",
    "network.change",
    "org.setting_change",
    "login",
    "other",
];

/// The class of an operation.
pub(crate) fn classify(source: Source, operation: &str) -> &'static str {
    TABLE
        .iter()
        .filter(|(of, _, _)| *of == source)
        .find(|(_, _, patterns)| patterns.iter().any(|pattern| matches(pattern, operation)))
        .map_or("other", |(_, class, _)| class)
}

/// The class of a change that turned out to switch a log off.
pub(crate) fn switched_off(class: &str) -> &str {
    match class {
        "logging.change" => "logging.disable",
        class => class,
    }
}

#[rustfmt::skip]
const TABLE: &[(Source, &str, &[&str])] = &[
    // Bedrock, its agents, AgentCore, and IAM as far as it concerns Bedrock's API keys.
    (Aws, "logging.disable", &["DeleteModelInvocationLoggingConfiguration"]),
    (Aws, "logging.change", &["PutModelInvocationLoggingConfiguration"]),
    (Aws, "guardrail.create", &["CreateGuardrail", "CreateAutomatedReasoningPolicy"]),
    (Aws, "guardrail.update", &[
        "UpdateGuardrail", "CreateGuardrailVersion", "PutEnforcedGuardrailConfiguration", "UpdateAutomatedReasoningPolicy*",
        "CreateAutomatedReasoningPolicyVersion",
    ]),
    (Aws, "guardrail.delete", &["DeleteGuardrail*", "DeleteEnforcedGuardrailConfiguration", "DeleteAutomatedReasoningPolicy*"]),
    (Aws, "model.access_request", &["PutFoundationModelEntitlement", "PutUseCaseForModelAccess", "CreateFoundationModelAgreement"]),
    (Aws, "model.list", &[
        "ListFoundationModel*", "GetFoundationModel*", "ListCustomModels", "ListImportedModels", "ListInferenceProfiles",
        "ListProvisionedModelThroughputs", "GetUseCaseForModelAccess", "ListMarketplaceModelEndpoints", "ListModels",
    ]),
    (Aws, "model.deploy", &["CreateCustomModelDeployment", "UpdateCustomModelDeployment"]),
    // A tuned or copied model is new to the account as an imported one is.
    (Aws, "model.import", &["CreateModelImportJob", "CreateModelCustomizationJob", "CreateModelCopyJob", "CreateCustomModel"]),
    (Aws, "model.delete", &[
        "DeleteImportedModel", "DeleteCustomModel", "DeleteCustomModelDeployment", "DeleteModelCustomizationJob",
        "DeleteFoundationModelAgreement",
    ]),
    (Aws, "endpoint.change", &[
        "CreateMarketplaceModelEndpoint", "UpdateMarketplaceModelEndpoint", "DeleteMarketplaceModelEndpoint",
        "RegisterMarketplaceModelEndpoint", "DeregisterMarketplaceModelEndpoint", "CreateInferenceProfile",
        "DeleteInferenceProfile", "CreatePromptRouter", "DeletePromptRouter",
    ]),
    (Aws, "capacity.change", &["CreateProvisionedModelThroughput", "UpdateProvisionedModelThroughput", "DeleteProvisionedModelThroughput"]),
    (Aws, "knowledge_base.change", &[
        "CreateKnowledgeBase", "UpdateKnowledgeBase", "DeleteKnowledgeBase", "CreateDataSource", "UpdateDataSource",
        "DeleteDataSource", "StartIngestionJob", "StopIngestionJob", "IngestKnowledgeBaseDocuments", "DeleteKnowledgeBaseDocuments",
    ]),
    (Aws, "agent.change", &[
        "CreateAgent*", "UpdateAgent*", "DeleteAgent*", "PrepareAgent", "AssociateAgent*", "DisassociateAgent*", "CreateFlow*",
        "UpdateFlow*", "DeleteFlow*", "PrepareFlow", "CreatePrompt*", "UpdatePrompt*", "DeletePrompt*", "CreateGateway*",
        "UpdateGateway*", "DeleteGateway*", "CreateMemory", "UpdateMemory", "DeleteMemory", "CreateCodeInterpreter",
        "DeleteCodeInterpreter", "CreateBrowser", "DeleteBrowser",
    ]),
    (Aws, "key.create", &["CreateServiceSpecificCredential", "CreateAccessKey", "CreateApiKeyCredentialProvider"]),
    (Aws, "key.read", &["ListServiceSpecificCredentials", "ListAccessKeys", "GetResourceApiKey", "GetApiKeyCredentialProvider"]),
    (Aws, "key.rotate", &[
        "ResetServiceSpecificCredential", "UpdateServiceSpecificCredential", "UpdateAccessKey", "UpdateApiKeyCredentialProvider",
    ]),
    (Aws, "key.delete", &["DeleteServiceSpecificCredential", "DeleteAccessKey", "DeleteApiKeyCredentialProvider"]),
    (Aws, "policy.change", &[
        "PutResourcePolicy", "DeleteResourcePolicy", "AttachUserPolicy", "DetachUserPolicy", "PutUserPolicy", "DeleteUserPolicy",
        "PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary",
    ]),
    (Aws, "role.change", &["CreateUser", "UpdateUser", "DeleteUser", "AddUserToGroup", "RemoveUserFromGroup", "CreateLoginProfile"]),
    (Aws, "login", &["ConsoleLogin"]),

    // Azure writes and deletes; one name serves creating and changing.
    (Azure, "logging.disable", &[
        "Microsoft.Insights/diagnosticSettings/delete", "*/providers/diagnosticSettings/delete",
        "Microsoft.ApiManagement/service/*diagnostics/delete", "Microsoft.ApiManagement/service/loggers/delete",
    ]),
    (Azure, "logging.change", &[
        "Microsoft.Insights/diagnosticSettings/write", "*/providers/diagnosticSettings/write",
        "Microsoft.ApiManagement/service/*diagnostics/write", "Microsoft.ApiManagement/service/loggers/write",
    ]),
    (Azure, "guardrail.delete", &["*/raiPolicies/delete", "*/raiBlocklists/delete", "*/raiBlocklists/*/delete", "*/raiTopics/delete"]),
    (Azure, "guardrail.update", &[
        "*/raiPolicies/write", "*/raiBlocklists/write", "*/raiBlocklists/*/write", "*/raiBlocklists/*/action", "*/raiTopics/write",
        "*/defenderForAISettings/write",
    ]),
    (Azure, "model.deploy", &["*/accounts/deployments/write", "*/onlineEndpoints/deployments/write", "*/serverlessEndpoints/write"]),
    (Azure, "model.delete", &[
        "*/accounts/deployments/delete", "*/onlineEndpoints/deployments/delete", "*/serverlessEndpoints/delete", "FineTunes_Delete",
        "*/fine-tunes/delete",
    ]),
    (Azure, "model.import", &["*/fine-tunes/write", "*/fine_tuning/*/write", "FineTuning_*Create*", "FineTunes_Create"]),
    (Azure, "model.list", &["*/accounts/models/read", "Models_List", "List_Models", "ListModels"]),
    (Azure, "agent.change", &["*/agents/write", "*/agents/delete", "*/agents/*/write", "*/agents/*/delete", "*/assistants/write", "*/assistants/delete"]),
    (Azure, "knowledge_base.change", &["*/vector_stores/*write", "*/vector_stores/*delete", "*/vectorStores/*write", "*/vectorStores/*delete"]),
    (Azure, "key.read", &["*/listKeys/action", "*/listSecrets/action", "ListKey", "ListKeys", "*/listApiKeys/action"]),
    (Azure, "key.rotate", &["*/regenerate*Key/action", "RegenerateKey", "Regenerate_Key"]),
    (Azure, "role.change", &["Microsoft.Authorization/roleAssignments/*", "Microsoft.Authorization/roleDefinitions/*", "*/elevateAccess/action"]),
    (Azure, "policy.change", &[
        "Microsoft.Authorization/policy*/write", "Microsoft.Authorization/policy*/delete", "Microsoft.Authorization/locks/*",
        "Microsoft.ApiManagement/service/*policies/write", "Microsoft.ApiManagement/service/*policies/delete",
    ]),
    (Azure, "network.change", &[
        "*/privateEndpointConnection*/write", "*/privateEndpointConnection*/delete", "*/privateEndpointConnection*/action",
        "*/networkSecurityPerimeter*", "Microsoft.Network/*/write", "Microsoft.Network/*/delete", "*/managedNetwork*/write",
        "*/managedNetwork*/delete",
    ]),
    (Azure, "capacity.change", &["*/commitmentPlans/write", "*/commitmentPlans/delete", "*/commitmentTiers/*"]),
    (Azure, "endpoint.change", &[
        "Microsoft.CognitiveServices/accounts/write", "Microsoft.CognitiveServices/accounts/delete",
        "Microsoft.CognitiveServices/accounts/projects/write", "Microsoft.CognitiveServices/accounts/projects/delete",
        "Microsoft.CognitiveServices/accounts/connections/write", "Microsoft.CognitiveServices/accounts/connections/delete",
        "*/onlineEndpoints/write", "*/onlineEndpoints/delete", "Microsoft.ApiManagement/service/*apis/write",
        "Microsoft.ApiManagement/service/*apis/delete", "Microsoft.ApiManagement/service/backends/write",
        "Microsoft.ApiManagement/service/backends/delete",
    ]),

    // Google: services of Vertex AI, Model Armor, logging and IAM.
    (Gcp, "logging.disable", &["*ConfigServiceV2.DeleteSink", "*ConfigServiceV2.CreateExclusion", "*ConfigServiceV2.DeleteBucket"]),
    (Gcp, "logging.change", &["*SetPublisherModelConfig", "*ConfigServiceV2.Create*", "*ConfigServiceV2.Update*", "*ConfigServiceV2.Delete*"]),
    (Gcp, "guardrail.create", &["*modelarmor*CreateTemplate"]),
    (Gcp, "guardrail.update", &["*modelarmor*UpdateTemplate", "*modelarmor*UpdateFloorSetting"]),
    (Gcp, "guardrail.delete", &["*modelarmor*DeleteTemplate"]),
    (Gcp, "endpoint.change", &["*DeployModel", "*MutateDeployedModel", "*EndpointService.Create*", "*EndpointService.Update*", "*EndpointService.Delete*"]),
    (Gcp, "model.deploy", &["*ModelGardenService.Deploy*"]),
    (Gcp, "model.import", &["*ModelService.UploadModel", "*ModelService.CopyModel", "*CreateTuningJob", "*GenAiTuningService.*Create*"]),
    (Gcp, "model.delete", &["*ModelService.Delete*"]),
    (Gcp, "model.list", &["*ModelService.ListModels", "*ListPublisherModels", "*ModelGardenService.Get*", "*ModelGardenService.List*"]),
    (Gcp, "model.access_request", &["*AcceptPublisherModelEula", "*PublisherModelEula*"]),
    (Gcp, "capacity.change", &["*DeploymentResourcePoolService.Create*", "*DeploymentResourcePoolService.Update*", "*DeploymentResourcePoolService.Delete*"]),
    (Gcp, "agent.change", &[
        "*ReasoningEngineService.Create*", "*ReasoningEngineService.Update*", "*ReasoningEngineService.Delete*", "*Agents.Create*",
        "*Agents.Update*", "*Agents.Delete*",
    ]),
    (Gcp, "knowledge_base.change", &[
        "*VertexRagDataService.Create*", "*VertexRagDataService.Update*", "*VertexRagDataService.Delete*", "*VertexRagDataService.Import*",
        "*VertexRagDataService.Upload*", "*DataStoreService.Create*", "*DataStoreService.Update*", "*DataStoreService.Delete*",
        "*DocumentService.Create*", "*DocumentService.Update*", "*DocumentService.Delete*", "*DocumentService.Import*",
        "*DocumentService.Purge*", "*IndexService.Create*", "*IndexService.Update*", "*IndexService.Delete*",
        "*IndexService.*Datapoints",
    ]),
    (Gcp, "key.create", &["*CreateServiceAccountKey", "*UploadServiceAccountKey", "*ApiKeys.CreateKey"]),
    (Gcp, "key.read", &["*ApiKeys.GetKeyString", "*ListServiceAccountKeys"]),
    (Gcp, "key.rotate", &["*EnableServiceAccountKey", "*ApiKeys.UpdateKey", "*ApiKeys.UndeleteKey"]),
    (Gcp, "key.delete", &["*DeleteServiceAccountKey", "*DisableServiceAccountKey", "*ApiKeys.DeleteKey"]),
    (Gcp, "policy.change", &["*SetIamPolicy", "*SetOrgPolicy", "*OrgPolicy.Create*", "*OrgPolicy.Update*", "*OrgPolicy.Delete*"]),
    (Gcp, "role.change", &["google.iam.admin.*Role", "*CreateServiceAccount", "*DeleteServiceAccount", "*EnableServiceAccount", "*DisableServiceAccount"]),
    (Gcp, "network.change", &["*AccessContextManager.Create*", "*AccessContextManager.Update*", "*AccessContextManager.Delete*"]),
    (Gcp, "org.setting_change", &["*ServiceUsage.EnableService", "*ServiceUsage.DisableService", "*ServiceUsage.BatchEnableServices"]),
    (Gcp, "login", &["google.login.*"]),

    // LiteLLM: a key that is blocked cannot be used any more; a key whose limits change follows another policy.
    (LiteLlm, "key.create", &["*VerificationToken*/created"]),
    (LiteLlm, "key.rotate", &["*VerificationToken*/rotated"]),
    (LiteLlm, "key.delete", &["*VerificationToken*/deleted", "*VerificationToken*/blocked"]),
    (LiteLlm, "policy.change", &["*VerificationToken*/*", "*BudgetTable/*"]),
    (LiteLlm, "model.deploy", &["*ProxyModelTable/created"]),
    (LiteLlm, "model.delete", &["*ProxyModelTable/deleted"]),
    (LiteLlm, "endpoint.change", &["*ProxyModelTable/*"]),
    (LiteLlm, "guardrail.create", &["*Guardrail*/created"]),
    (LiteLlm, "guardrail.delete", &["*Guardrail*/deleted"]),
    (LiteLlm, "guardrail.update", &["*Guardrail*/*"]),
    (LiteLlm, "agent.change", &["*MCP*/*", "*Agent*/*", "*PromptTable/*"]),
    (LiteLlm, "knowledge_base.change", &["*VectorStore*/*"]),
    (LiteLlm, "role.change", &["*UserTable/*", "*TeamTable/*", "*TeamMembership/*", "*OrganizationMembership/*", "*InvitationLink/*"]),
    (LiteLlm, "org.setting_change", &["*OrganizationTable/*", "*Config/*", "*SSO*/*"]),

    (OpenAi, "key.create", &["api_key.created", "external_key.registered", "service_account.created"]),
    (OpenAi, "key.rotate", &["api_key.updated", "service_account.updated"]),
    (OpenAi, "key.delete", &["api_key.deleted", "external_key.removed", "service_account.deleted"]),
    (OpenAi, "login", &["login.*", "logout.*"]),
    (OpenAi, "role.change", &["role.*", "user.*", "invite.*", "group.*", "scim.*"]),
    (OpenAi, "policy.change", &["rate_limit.*", "checkpoint.permission.*", "resource.*"]),
    (OpenAi, "model.delete", &["model.deleted", "checkpoint.deleted"]),
    (OpenAi, "network.change", &["ip_allowlist.*", "certificate.*", "certificates.*", "tunnel.*"]),
    (OpenAi, "org.setting_change", &["organization.*", "project.*"]),

    (Anthropic, "key.create", &["*api_key*_created", "*api_key.created"]),
    (Anthropic, "key.rotate", &["*api_key*_updated", "*api_key*_rotated", "*api_key.updated"]),
    (Anthropic, "key.delete", &["*api_key*_deleted", "*api_key*_archived", "*api_key*_revoked", "*api_key.deleted"]),
    (Anthropic, "login", &["*signed_in*", "*signed_out*", "*logged_in*", "*logged_out*", "*login*", "*logout*", "*magic_link*"]),
    (Anthropic, "network.change", &["*ip_restriction*", "*ip_allowlist*"]),
    (Anthropic, "role.change", &["*_role*", "*invite*", "*user_added*", "*user_removed*", "*member*", "*group*", "*scim*"]),
    (Anthropic, "agent.change", &["*mcp*", "*integration*", "*connector*", "*skill*"]),
    (Anthropic, "org.setting_change", &["org_*", "organization*", "*workspace*", "*sso*", "*settings*"]),
];

/// Whether a text is what a pattern with `*` for any run of characters says; case is ignored.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where to go on when a guess about the length of a run was wrong: behind its star, one character later.
    let mut retry = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, read));
                at += 1;
            }
            Some(byte) if byte.eq_ignore_ascii_case(&text[read]) => {
                at += 1;
                read += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    (at, read) = (star, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests;
