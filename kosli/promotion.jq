# The rules by which Kosli judges an attestation of type promotion: one a line, each true for a promotion that may go on.
.incoming_fingerprint | test("^[0-9a-f]{64}$")
.incoming_flow != ""
.incoming_commit_sha | test("^([0-9a-f]{40}|[0-9a-f]{64})$")
.incoming_fingerprint != .outgoing_fingerprint
.deployment_diff_url | startswith("https://") or startswith("http://")
.outgoing_flow == "" or .outgoing_flow == .incoming_flow
