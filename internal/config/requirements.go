package config

import (
	"encoding/json"
	"fmt"
	"os"
)

// ReadRequirements reads the file that [Config.Requirements] names: a JSON array of
// objects with name and version, which are the versions to make extensions in. What
// else the objects hold is not looked at. Everything that is wrong is in one
// *ValidationError. Without a file there are none.
func ReadRequirements(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	var p problems
	const form = `write [{"name": "postgis", "version": "3.4.0"}, …]`
	text, err := os.ReadFile(path)
	if err != nil {
		p.add("requirements", "reading the versions of extensions: "+err.Error(), "give the path of the file")
		return nil, p.err()
	}
	var list []struct{ Name, Version string }
	if err := json.Unmarshal(text, &list); err != nil {
		p.add(path, "not a list of extensions: "+err.Error(), form)
		return nil, p.err()
	}
	versions := make(map[string]string, len(list))
	for i, e := range list {
		switch {
		case e.Name == "" || e.Version == "":
			p.add(path, fmt.Sprintf("entry %d lacks name or version", i+1), form)
		case versions[e.Name] != "":
			p.add(path, fmt.Sprintf("extension %q is there twice", e.Name), "")
		}
		versions[e.Name] = e.Version
	}
	return versions, p.err()
}
