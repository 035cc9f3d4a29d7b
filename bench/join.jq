# What promotions.py prints, in jq: no check, no refusal, no host but GitHub's.
def side($prefix; $snapshot_id):
  (.commit_url / "/") as [$scheme, $empty, $host, $owner, $name, $word, $sha]
  | . + {
      commit_sha: $sha,
      repo_url: "\($scheme)//\($host)/\($owner)/\($name)",
      repository: "\($owner)/\($name)",
      repo_name: $name,
      repo_provider: "github",
      raw_snyk_policy_url: "https://raw.githubusercontent.com/\($owner)/\($name)/\($sha)/.snyk",
      snapshot_id: $snapshot_id,
      snapshot_url: ($snapshot_id / "#" | "https://app.kosli.com/acme/environments/\(.[0])/snapshots/\(.[1])?fingerprint=")
    }
  | .snapshot_url += .fingerprint
  | with_entries(.key |= "\($prefix)_\(.)");

.snappish1 as $beta
| .snappish2 as $prod
| reduce $prod.artifacts[] as $artifact ({}; setpath([$artifact.flow]; $artifact)) | . as $replaced
| [
    $beta.artifacts | sort_by(.flow, .name)[]
    | $replaced[.flow] as $outgoing
    | side("incoming"; $beta.snapshot_id)
    | if $outgoing then
        . + ($outgoing | side("outgoing"; $prod.snapshot_id))
        | .deployment_diff_url = "\(.incoming_repo_url)/compare/\(.outgoing_commit_sha)...\(.incoming_commit_sha)"
      else
        . + with_entries(.key |= sub("incoming"; "outgoing") | .value = "") + {deployment_diff_url: .incoming_commit_url}
      end
  ]
