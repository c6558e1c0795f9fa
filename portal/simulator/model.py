"""What a simulated iPhone is and tells of itself: one model for each kind of iOS that behaves differently."""

from dataclasses import dataclass
from typing import Any

FIRST_WITHOUT_PROFILES = 18
"""From iOS 18 on a downloaded profile enrolls nothing."""


@dataclass
class Model:
    """What the phone is; the defaults are those of one real model."""

    product_name: str = "iPhone14,5"
    model_name: str = "iPhone"
    os_version: str = "17.6.1"
    build_version: str = "21G93"
    marketing_name: str = "iPhone 13"

    @property
    def major(self) -> int:
        """18 for iOS 18.2."""
        return int(self.os_version.split(".")[0])

    def machine_info(self, language: str) -> dict[str, Any]:
        """What Settings tells when an enrollment begins; before iOS 17 without the version."""
        info: dict[str, Any] = {"LANGUAGE": language, "PRODUCT": self.product_name, "VERSION": self.build_version}
        if self.major >= 17:
            info |= {
                "OS_VERSION": self.os_version,
                "SUPPLEMENTAL_BUILD_VERSION": self.build_version,
                "MDM_CAN_REQUEST_SOFTWARE_UPDATE": True,
            }
        return info

    def user_agent(self) -> str:
        """Safari's and the web view's; iOS 26 keeps saying iPhone OS 18_6."""
        system = "18.6" if self.major > FIRST_WITHOUT_PROFILES else self.os_version
        version = ".".join(self.os_version.split(".")[:2])
        return (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS {system.replace('.', '_')} like Mac OS X) AppleWebKit/605.1.15 "
            f"(KHTML, like Gecko) Version/{version} Mobile/15E148 Safari/604.1"
        )

    def answers(self) -> dict[str, Any]:
        """Query answers of DeviceInformation that a user-enrolled phone gives."""
        return {
            "OSVersion": self.os_version,
            "BuildVersion": self.build_version,
            "ProductName": self.product_name,
            "ModelName": self.model_name,
            "Model": "MLPF3",
            "DeviceCapacity": 128.0,
            "AvailableDeviceCapacity": 74.5,
            "SupplementalBuildVersion": self.build_version,
            "IsSupervised": False,
            "BatteryLevel": 0.8,
            "TimeZone": "Europe/Berlin",
            "DeviceName": "iPhone",
        }


MODELS = {
    15: Model("iPhone12,1", os_version="15.8.3", build_version="19H386", marketing_name="iPhone 11"),
    17: Model(),
    18: Model("iPhone16,1", os_version="18.2.1", build_version="22C161", marketing_name="iPhone 15 Pro"),
    26: Model("iPhone17,2", os_version="26.0", build_version="23A341", marketing_name="iPhone 16 Pro Max"),
}
"""One phone for each kind of iOS that behaves differently."""
