package v1

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sipio/sipio/brain"
)

// keyRequest asks for a new API key.
type keyRequest struct {
	AccountID string `query:"account_id" doc:"the account it will belong to, absent for a key of the platform; for keys of the platform"`
	Body      struct {
		Name   string        `json:"name" minLength:"1" maxLength:"128"`
		Scopes []brain.Scope `json:"scopes" minItems:"1" nullable:"false"`
	}
}

// keyReply shows the key itself, this once.
type keyReply struct {
	Location string `header:"Location"`
	Body     struct {
		Key    string       `json:"key" doc:"the key itself: shown now and never again"`
		APIKey brain.APIKey `json:"api_key"`
	}
}

func (a *API) registerKeyCreation() {
	huma.Register(a.huma, huma.Operation{
		Method: http.MethodPost, Path: collectionPath(brain.KindAPIKey), Tags: []string{string(brain.KindAPIKey)},
		OperationID: "create_api_key", Summary: "Create api key", DefaultStatus: http.StatusCreated,
	}, a.createKey)
}

func (a *API) createKey(ctx context.Context, in *keyRequest) (*keyReply, error) {
	who, accountID, err := rights{write: brain.ScopeKeys}.enter(ctx, in.AccountID, true)
	if err == nil {
		err = invalid(who.grant(accountID, nil, in.Body.Scopes)...)
	}
	if err != nil {
		return nil, refuse("create api_key", err)
	}
	token, key, err := a.store.NewKey(ctx, who.actor(), accountID, in.Body.Name, in.Body.Scopes)
	if err != nil {
		return nil, refuse("create api_key", err)
	}
	out := &keyReply{Location: collectionPath(brain.KindAPIKey) + "/" + key.ID}
	out.Body.Key, out.Body.APIKey = token, key
	return out, nil
}

// regrant holds a change of a key to what its maker may grant.
func (c caller) regrant(before, after brain.Resource) []brain.FieldError {
	key, ok := after.(*brain.APIKey)
	if !ok {
		return nil
	}
	return c.grant(key.AccountID, before.(*brain.APIKey).Scopes, key.Scopes)
}
