"""OpenLDAP on loopback, with TLS from the test's certificate and a small tree with nested groups."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from portal.simulator.server import free_port
from tests.servers import loopback_certificate

SLAPD = shutil.which("slapd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
SLAPADD = shutil.which("slapadd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
needs_slapd = pytest.mark.skipif(SLAPD is None, reason="Debian's package slapd is not installed")
START_SECONDS = 15.0
BASE = "dc=example,dc=com"
SERVICE_DN, SERVICE_PASSWORD = f"cn=portal,{BASE}", "service password"
PASSWORD = "a directory password"

CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/msuser.schema
attributetype ( 1.3.6.1.4.1.99999.1 NAME 'testManagedAccount' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.3.6.1.4.1.99999.2 NAME 'testAccount' SUP top AUXILIARY MAY ( userAccountControl $ accountExpires $
  pwdLastSet $ sAMAccountName $ userPrincipalName $ testManagedAccount ) )
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
security simple_bind=128
sizelimit 1000
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{service_dn}" read by self read by users search by * none
database mdb
maxsize 16777216
suffix "{base}"
directory {folder}/data
index objectClass,uid,member eq
"""

TREE = """
dn: {base}
objectClass: domain
dc: example

dn: cn=portal,{base}
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: portal
userPassword: {service_password}

dn: ou=people,{base}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{base}
objectClass: organizationalUnit
ou: groups
"""

PERSON = """
dn: uid={uid},ou=people,{base}
objectClass: inetOrgPerson
objectClass: testAccount
uid: {uid}
cn: {name}
sn: {uid}
mail: {uid}@example.com
userPassword: {password}
"""

GROUP = """
dn: cn={cn},ou=groups,{base}
objectClass: groupOfNames
cn: {cn}
"""


class Slapd:
    """One server with its data in ``folder``; it can be killed and brought back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir(parents=True, exist_ok=True)
        self.certificate, key = loopback_certificate(folder)
        self.port, self.tls_port = free_port(), free_port()
        values = {"folder": folder, "certificate": self.certificate, "key": key, "base": BASE}
        self.configuration = folder / "slapd.conf"
        self.configuration.write_text(CONFIGURATION.format(service_dn=SERVICE_DN, **values))
        tree = TREE.format(base=BASE, service_password=SERVICE_PASSWORD)
        for uid, more in PEOPLE.items():
            tree += PERSON.format(uid=uid, name=uid.title(), base=BASE, password=PASSWORD) + more
        for cn, members in GROUPS.items():
            tree += GROUP.format(cn=cn, base=BASE) + "".join(f"member: {member},{BASE}\n" for member in members)
        (folder / "tree.ldif").write_text(tree)
        subprocess.run([SLAPADD, "-f", self.configuration, "-l", folder / "tree.ldif"], check=True, capture_output=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until both ports answer."""
        # 127.0.0.2 is a host that the certificate does not name.
        addresses = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port} ldaps://127.0.0.2:{self.tls_port}"
        command = [SLAPD, "-f", str(self.configuration), "-h", addresses, "-d", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        for port in (self.port, self.tls_port):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, "slapd does not answer"
                    assert self.process.poll() is None, "slapd ended by itself"
                    time.sleep(0.05)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def connections(self) -> int:
        """How many connections clients hold open."""
        wanted = {f"{self.port:04X}", f"{self.tls_port:04X}"}
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        rows = [line.split() for line in lines]
        return sum(row[3] == "01" and row[1].split(":")[1] in wanted for row in rows)

    def settings(self, **changes: object) -> dict[str, object]:
        """The portal's [ldap] section for this server."""
        return {
            "servers": [f"ldaps://127.0.0.1:{self.tls_port}"],
            "ca_file": str(self.certificate),
            "service_dn": SERVICE_DN,
            "service_password": SERVICE_PASSWORD,
            "base_dn": BASE,
            "managed_apple_account_attribute": "testManagedAccount",
            "timeout_seconds": 3,
            **changes,
        }


PEOPLE = {
    "dora": "testManagedAccount: dora@work.example.com\nmobile: +49 151 0000000\npreferredLanguage: de-DE\n",
    "nomaa": "",
    "helen": "",
    "ada": "",
    "gone": "userAccountControl: 514\n",
    "late": "accountExpires: 130000000000000000\n",
    "fresh": "pwdLastSet: 0\n",
    "o'brien (x)*": "testManagedAccount: obrien@work.example.com\n",
    "twin1": "sAMAccountName: twin\n",
    "twin2": "sAMAccountName: twin\n",
}
GROUPS = {
    "enroll": ["uid=dora,ou=people", "cn=staff,ou=groups", "cn=loop,ou=groups"],
    "staff": ["cn=helpdesk,ou=groups", "cn=admins,ou=groups"],
    "helpdesk": ["uid=helen,ou=people"],
    "admins": ["uid=ada,ou=people"],
    "loop": ["cn=enroll,ou=groups"],
}
