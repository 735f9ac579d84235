package schema

// families returns all families in the order in which they are compared. What
// owns other objects stands before them.
func families() []family {
	return []family{
		schemas(), extensions(), types(), relations(), sequences(), columns(), indexes(), constraints(), statistics(),
		rules(), triggers(), policies(), functions(), languages(), transforms(),
		operators(), operatorFamilies(), operatorClasses(), casts(), accessMethods(), collations(), conversions(),
		textSearchConfigurations(), textSearchDictionaries(), textSearchParsers(), textSearchTemplates(),
		foreignDataWrappers(), foreignServers(), userMappings(),
		publications(), publishedTables(), publishedSchemas(), subscriptions(), eventTriggers(), largeObjects(),
		defaultPrivileges(), changedPrivileges(), securityLabels(),
	}
}
