package ban

import (
	"slices"

	"github.com/google/nftables"
)

// Present tells whether the kernel has the table, without changing anything. It needs CAP_NET_ADMIN as Open does.
func Present(name string) (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, explain(name, err)
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == name }), explain(name, err)
}
