package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Secrets returns the secrets of an account, or of all for "", without their values, which the brain never shows.
func (c *Client) Secrets(ctx context.Context, accountID string) ([]*brain.Secret, error) {
	all, err := c.List(ctx, brain.KindSecret, accountID)
	if err != nil {
		return nil, err
	}
	list := make([]*brain.Secret, len(all))
	for i, r := range all {
		list[i] = r.(*brain.Secret)
	}
	return list, nil
}

// NewSecret makes a secret with a value.
func (c *Client) NewSecret(ctx context.Context, accountID, name, value string) (*brain.Secret, error) {
	return c.giveSecret(ctx, http.MethodPost, collection(brain.KindSecret), accountID, map[string]string{"name": name, "value": value})
}

// GiveSecret gives a secret that is there another value.
func (c *Client) GiveSecret(ctx context.Context, id, value string) (*brain.Secret, error) {
	return c.giveSecret(ctx, http.MethodPatch, collection(brain.KindSecret)+"/"+url.PathEscape(id), "", map[string]string{"value": value})
}

func (c *Client) giveSecret(ctx context.Context, method, path, accountID string, members map[string]string) (*brain.Secret, error) {
	body, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	raw, _, err := c.do(ctx, method, path, forAccount(nil, accountID), "application/json", body)
	if err != nil {
		return nil, err
	}
	r, err := decode(brain.KindSecret, raw)
	if err != nil {
		return nil, err
	}
	return r.(*brain.Secret), nil
}

// RotateSecrets has the brain seal every secret with the key that is first in its key file.
func (c *Client) RotateSecrets(ctx context.Context) (done api.SecretRotation, err error) {
	raw, _, err := c.do(ctx, http.MethodPost, api.PathSecretRotate, nil, "", nil)
	if err != nil {
		return done, err
	}
	if err := json.Unmarshal(raw, &done); err != nil {
		return done, fmt.Errorf("read the reply of %s: %w", api.PathSecretRotate, err)
	}
	return done, nil
}
