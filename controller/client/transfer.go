package client

import (
	"context"

	"github.com/sipio/sipio/brain/api"
)

// Transfer sends the caller of a talk elsewhere. Users and queues may be named by id or name.
func (c *Client) Transfer(ctx context.Context, accountID string, req api.TransferRequest) (reply api.TransferReply, err error) {
	return reply, c.post(ctx, api.PathTransfer, accountID, req, &reply)
}
