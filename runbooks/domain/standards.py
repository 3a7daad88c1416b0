"""Identifiers of published standards, as lists with version and date; an identifier that is not listed is refused.

Only the ATLAS techniques and mitigations that an archetype of ours maps to are listed (ATLAS 5.6, 2026-05-05).
"""

from runbooks.domain.errors import BookError

OWASP_LLM_2025: dict[str, str] = {
    "LLM01": "Prompt Injection",
    "LLM02": "Sensitive Information Disclosure",
    "LLM03": "Supply Chain",
    "LLM04": "Data and Model Poisoning",
    "LLM05": "Improper Output Handling",
    "LLM06": "Excessive Agency",
    "LLM07": "System Prompt Leakage",
    "LLM08": "Vector and Embedding Weaknesses",
    "LLM09": "Misinformation",
    "LLM10": "Unbounded Consumption",
}

OWASP_AGENTIC_2026: dict[str, str] = {
    "ASI01": "Agent Goal Hijack",
    "ASI02": "Tool Misuse and Exploitation",
    "ASI03": "Identity and Privilege Abuse",
    "ASI04": "Agentic Supply Chain Vulnerabilities",
    "ASI05": "Unexpected Code Execution",
    "ASI06": "Memory & Context Poisoning",
    "ASI07": "Insecure Inter-Agent Communication",
    "ASI08": "Cascading Failures",
    "ASI09": "Human-Agent Trust Exploitation",
    "ASI10": "Rogue Agents",
}

NIST_AI_600_1: dict[str, str] = {
    "NIST-600-1:cbrn-information-or-capabilities": "CBRN Information or Capabilities",
    "NIST-600-1:confabulation": "Confabulation",
    "NIST-600-1:dangerous-violent-or-hateful-content": "Dangerous, Violent, or Hateful Content",
    "NIST-600-1:data-privacy": "Data Privacy",
    "NIST-600-1:environmental-impacts": "Environmental Impacts",
    "NIST-600-1:harmful-bias-and-homogenization": "Harmful Bias and Homogenization",
    "NIST-600-1:human-ai-configuration": "Human-AI Configuration",
    "NIST-600-1:information-integrity": "Information Integrity",
    "NIST-600-1:information-security": "Information Security",
    "NIST-600-1:intellectual-property": "Intellectual Property",
    "NIST-600-1:obscene-degrading-and-or-abusive-content": "Obscene, Degrading, and/or Abusive Content",
    "NIST-600-1:value-chain-and-component-integration": "Value Chain and Component Integration",
}

ATLAS_TECHNIQUES: dict[str, str] = {
    "AML.T0051": "LLM Prompt Injection",
    "AML.T0051.000": "LLM Prompt Injection: Direct",
    "AML.T0051.001": "LLM Prompt Injection: Indirect",
    "AML.T0051.002": "LLM Prompt Injection: Triggered",
    "AML.T0054": "LLM Jailbreak",
    "AML.T0068": "LLM Prompt Obfuscation",
    "AML.T0093": "Prompt Infiltration via Public-Facing Application",
    "AML.T0056": "Extract LLM System Prompt",
    "AML.T0061": "LLM Prompt Self-Replication",
    "AML.T0024": "Exfiltration via AI Inference API",
    "AML.T0024.000": "Exfiltration via AI Inference API: Infer Training Data Membership",
    "AML.T0024.001": "Exfiltration via AI Inference API: Invert AI Model",
    "AML.T0024.002": "Exfiltration via AI Inference API: Extract AI Model",
    "AML.T0057": "LLM Data Leakage",
    "AML.T0077": "LLM Response Rendering",
    "AML.T0085": "Data from AI Services",
    "AML.T0086": "Exfiltration via AI Agent Tool Invocation",
    "AML.T0082": "RAG Credential Harvesting",
    "AML.T0098": "AI Agent Tool Credential Harvesting",
    "AML.T0025": "Exfiltration via Cyber Means",
    "AML.T0020": "Poison Training Data",
    "AML.T0018": "Manipulate AI Model",
    "AML.T0018.000": "Manipulate AI Model: Poison AI Model",
    "AML.T0018.001": "Manipulate AI Model: Modify AI Model Architecture",
    "AML.T0018.002": "Manipulate AI Model: Embed Malware",
    "AML.T0043": "Craft Adversarial Data",
    "AML.T0015": "Evade AI Model",
    "AML.T0031": "Erode AI Model Integrity",
    "AML.T0059": "Erode Dataset Integrity",
    "AML.T0010": "AI Supply Chain Compromise",
    "AML.T0010.001": "AI Supply Chain Compromise: AI Software",
    "AML.T0010.005": "AI Supply Chain Compromise: AI Agent Tool",
    "AML.T0058": "Publish Poisoned Models",
    "AML.T0070": "RAG Poisoning",
    "AML.T0071": "False RAG Entry Injection",
    "AML.T0048": "External Harms",
    "AML.T0048.000": "External Harms: Financial",
    "AML.T0048.001": "External Harms: Reputational",
    "AML.T0048.002": "External Harms: Societal",
    "AML.T0048.003": "External Harms: User",
    "AML.T0060": "Publish Hallucinated Entities",
    "AML.T0062": "Discover LLM Hallucinations",
    "AML.T0067": "LLM Trusted Output Components Manipulation",
    "AML.T0088": "Generate Deepfakes",
    "AML.T0053": "AI Agent Tool Invocation",
    "AML.T0101": "Data Destruction via AI Agent Tool Invocation",
    "AML.T0080": "AI Agent Context Poisoning",
    "AML.T0081": "Modify AI Agent Configuration",
    "AML.T0099": "AI Agent Tool Data Poisoning",
    "AML.T0110": "AI Agent Tool Poisoning",
    "AML.T0103": "Deploy AI Agent",
    "AML.T0112": "Machine Compromise",
    "AML.T0034": "Cost Harvesting",
    "AML.T0034.002": "Cost Harvesting: Agentic Resource Consumption",
    "AML.T0029": "Denial of AI Service",
}

ATLAS_MITIGATIONS: dict[str, str] = {
    "AML.M0002": "Passive AI Output Obfuscation",
    "AML.M0003": "Model Hardening",
    "AML.M0004": "Restrict Number of AI Model Queries",
    "AML.M0005": "Control Access to AI Models and Data at Rest",
    "AML.M0007": "Sanitize Training Data",
    "AML.M0008": "Validate AI Model",
    "AML.M0013": "Code Signing",
    "AML.M0014": "Verify AI Artifacts",
    "AML.M0015": "Adversarial Input Detection",
    "AML.M0019": "Control Access to AI Models and Data in Production",
    "AML.M0020": "Generative AI Guardrails",
    "AML.M0021": "Generative AI Guidelines",
    "AML.M0022": "Generative AI Model Alignment",
    "AML.M0023": "AI Bill of Materials",
    "AML.M0024": "AI Telemetry Logging",
    "AML.M0025": "Maintain AI Dataset Provenance",
    "AML.M0026": "Privileged AI Agent Permissions Configuration",
    "AML.M0027": "Single-User AI Agent Permissions Configuration",
    "AML.M0028": "AI Agent Tools Permissions Configuration",
    "AML.M0029": "Human In-the-Loop for AI Agent Actions",
    "AML.M0030": "Restrict AI Agent Tool Invocation on Untrusted Data",
    "AML.M0031": "Memory Hardening",
    "AML.M0032": "Segmentation of AI Agent Components",
    "AML.M0033": "Input and Output Validation for AI Agent Components",
    "AML.M0034": "Deepfake Detection",
}

CSF_2: dict[str, str] = {
    "CSF:govern": "Govern",
    "CSF:identify": "Identify",
    "CSF:protect": "Protect",
    "CSF:detect": "Detect",
    "CSF:respond": "Respond",
    "CSF:recover": "Recover",
}

IDENTIFIERS: dict[str, str] = {
    **OWASP_LLM_2025,
    **OWASP_AGENTIC_2026,
    **NIST_AI_600_1,
    **ATLAS_TECHNIQUES,
    **ATLAS_MITIGATIONS,
    **CSF_2,
}
"""Every identifier that a runbook may cite, with its published name."""


def check_identifier(identifier: str) -> str:
    """The published name; BookError for an identifier that no vendored list knows."""
    name = IDENTIFIERS.get(identifier)
    if name is None:
        raise BookError(
            f"the standard identifier {identifier} is in none of the vendored lists.",
            now="the runbook was not loaded.",
            next_step="use an identifier of runbooks/domain/standards.py; superseded ones stay listed there.",
        )
    return name
