package client

import (
	"context"
	"net/url"
	"strings"

	"github.com/sipio/sipio/brain/api"
)

// Trunks returns what is known of an account's trunks.
func (c *Client) Trunks(ctx context.Context, accountID string) (list api.TrunkList, err error) {
	return list, c.get(ctx, api.PathTrunks, forAccount(nil, accountID), &list)
}

// PingTrunk has every node ping a trunk now.
func (c *Client) PingTrunk(ctx context.Context, accountID, id string) (found api.TrunkPinged, err error) {
	err = c.post(ctx, strings.Replace(api.PathTrunkPing, "{id}", url.PathEscape(id), 1), accountID, struct{}{}, &found)
	return found, err
}
