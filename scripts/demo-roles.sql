-- The roles of the sample database. Roles belong to the cluster and not to the
-- database, so both clusters need them.
CREATE ROLE shop_owner;
CREATE ROLE shop_clerk LOGIN;
