package v1

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sipio/sipio/brain"
)

type publishRequest struct {
	AccountID string `query:"account_id" doc:"for keys of the platform: refuse a flow of another account"`
	ID        string `path:"id"`
}

// registerPublish registers the way from a draft to what calls run.
func registerPublish(c *collection[brain.CallFlow, *brain.CallFlow]) {
	op := huma.Operation{
		Method: http.MethodPost, Path: collectionPath(c.kind) + "/{id}/publish", Tags: []string{string(c.kind)},
		OperationID: "publish_" + string(c.kind), Summary: "Publish call flow",
		Description: "The graph that is drawn becomes the one that new calls run, under the next version. Live calls keep theirs. Again, it changes nothing.",
	}
	huma.Register(c.huma, op, func(ctx context.Context, in *publishRequest) (*changeReply[*brain.CallFlow], error) {
		published := []byte(`{"status":"` + brain.StatusPublished + `"}`)
		return c.change(ctx, &changeRequest{AccountID: in.AccountID, ID: in.ID, RawBody: published})
	})
}
