// Secrets in responses: what should have stayed on the server.

rule Private_Key_In_Response
{
    meta:
        title = "Private key in a response"
        id = "4388383c-0fa5-466f-98a6-a8b842b6f679"
        sid = 1001061
        rev = 2
        status = "stable"
        level = "high"
        description = "A response that begins with a PEM private key (RFC 7468, OpenSSH)."
        author = "the project"
        date = "2026-11-21"
        reference = "https://www.rfc-editor.org/rfc/rfc7468"
        tags = "attack.t1552.004"
        falsepositives = "Test keys in public source code"
        classtype = "successful-recon-limited"
        traffic = "http any any -> any any"
        flow = "established, to_client"
        scope = "http.response_body"
    strings:
        $key = /BEGIN ((RSA|DSA|EC|OPENSSH|ENCRYPTED) )?PRIVATE KEY-----\r?\n[A-Za-z0-9+\/=]{60,76}\r?\n/
    condition:
        $key in (0..512)
}

rule AWS_Key_In_Response
{
    meta:
        title = "AWS access key with its secret in a response"
        id = "69f0c939-f155-40f9-a18c-bd7902f59d18"
        sid = 1001062
        rev = 1
        status = "stable"
        level = "critical"
        description = "An access key id near a secret key of the right length and name: settings files, and the instance metadata that SSRF reaches."
        author = "the project"
        date = "2026-11-21"
        reference = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html"
        tags = "attack.t1552.001, attack.t1552.005"
        falsepositives = "Documentation with example keys"
        classtype = "successful-recon-limited"
        traffic = "http any any -> any any"
        flow = "established, to_client"
        scope = "http.response_body"
    strings:
        $id = /\b(AKIA|ASIA)[A-Z2-7]{16}\b/
        $secret = /(aws_secret_access_key|SecretAccessKey)["']?\s{0,4}[=:]\s{0,4}["']?[A-Za-z0-9\/+]{40}\b/ nocase
        $example = "EXAMPLEKEY"
    condition:
        $id and $secret and not $example
}

rule Service_Account_In_Response
{
    meta:
        title = "Google service account key in a response"
        id = "4472382c-3dc2-4b15-89d1-27fd8394d1e1"
        sid = 1001063
        rev = 1
        status = "stable"
        level = "critical"
        description = "The JSON file of a service account with its private key."
        author = "the project"
        date = "2026-11-21"
        reference = "https://cloud.google.com/iam/docs/keys-create-delete"
        tags = "attack.t1552.001"
        falsepositives = "Documentation with shortened keys"
        classtype = "successful-recon-limited"
        traffic = "http any any -> any any"
        flow = "established, to_client"
        scope = "http.response_body"
    strings:
        $type = /"type"\s{0,4}:\s{0,4}"service_account"/
        $key = /"private_key"\s{0,4}:\s{0,4}"-----BEGIN PRIVATE KEY-----\\n[A-Za-z0-9+\/]{60}/
        $mail = ".iam.gserviceaccount.com"
    condition:
        all of them and filesize < 64KB
}
