package endpoint

import (
	"context"
	"net/http"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Secrets are the sealed secrets of all accounts.
type Secrets interface {
	// Rotate seals them anew where that is due. The error is a fault, also of the key file.
	Rotate(ctx context.Context, actor string) (api.SecretRotation, error)
}

// RegisterSecrets puts the rotation of secrets on a mux.
func (s *Server) RegisterSecrets(mux Mux, secrets Secrets) {
	rotate := s.gate(http.MethodPost, forPlatform, func(r *http.Request, key brain.APIKey) (any, error) {
		return secrets.Rotate(r.Context(), key.ID)
	})
	mux.HandleFunc("POST "+api.PathSecretRotate, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(transferTime)) // a writer without deadlines needs none
		rotate.ServeHTTP(w, r)
	})
}
