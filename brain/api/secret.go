package api

// PathSecretRotate seals every secret anew with the key that is first in the brain's key file: POST, keys of the platform.
const PathSecretRotate = "/v1/secrets/rotate"

// MaxSecretsFailed bounds the secrets that SecretRotation names.
const MaxSecretsFailed = 100

// SecretRotation is what became of the secrets of all accounts, each of which is to be sealed with the key that is first in the brain's key file.
type SecretRotation struct {
	Key      string         `json:"key"`             // id of the key that all but the failed ones are sealed with now
	Resealed int            `json:"resealed"`        // secrets
	Already  int            `json:"already"`         // secrets that were sealed with it before
	Failed   int            `json:"failed"`          // secrets that could not be opened; they stay as they are
	Which    []SecretFailed `json:"which,omitempty"` // the first of them
}

// SecretFailed is a secret that could not be opened.
type SecretFailed struct {
	AccountID string `json:"account_id"`
	Name      string `json:"name"`
	Why       string `json:"why"` // names the key that is missing
}
